#include "trainer/generation/continuation.h"

#include <algorithm>

#include "trainer/base/error.h"
#include "trainer/generation/generator.h"

namespace limbic::generation {
namespace {

void score_wave(const model::Decoder& decoder, std::span<const Question> questions,
                bool use_adapter, std::vector<std::vector<double>>& out) {
  const std::size_t group = questions[0].continuations.size();
  std::size_t longest = 1;
  std::vector<std::span<const std::int32_t>> prompts;
  for (const Question& question : questions) {
    prompts.emplace_back(question.prompt);
    check(question.continuations.size() == group, "as many continuations for every question");
    for (const auto& ids : question.continuations) {
      check(!ids.empty(), "a continuation has tokens");
      longest = std::max(longest, ids.size());
    }
  }
  const model::ForwardOptions options{.use_adapter = use_adapter};
  model::KeyValueCache cache(static_cast<std::int64_t>(group), static_cast<std::int64_t>(longest));
  at::Tensor hidden = decoder.prefill(pack(prompts, decoder.device()), options, cache)
                          .repeat_interleave(static_cast<std::int64_t>(group), 0);
  const std::size_t first = out.size();
  out.resize(first + questions.size(), std::vector<double>(group, 0.0));
  const auto ids_of = [&](std::int64_t slot) -> const std::vector<std::int32_t>& {
    const auto at = static_cast<std::size_t>(slot);
    return questions[at / group].continuations[at % group];
  };
  for (std::size_t position = 0;; ++position) {
    std::vector<std::int32_t> targets;
    for (const std::int64_t slot : cache.active()) targets.push_back(ids_of(slot)[position]);
    const at::Tensor ids =
        at::tensor(targets, at::TensorOptions().dtype(at::kInt)).to(decoder.device());
    const at::Tensor logprobs =
        decoder.scores(hidden, ids, {}, use_adapter).logprobs.cpu().contiguous();
    std::vector<std::int64_t> going;
    std::vector<std::int32_t> tokens;
    for (std::size_t i = 0; i < targets.size(); ++i) {
      const std::int64_t slot = cache.active()[i];
      const auto at = static_cast<std::size_t>(slot);
      out[first + at / group][at % group] += static_cast<double>(logprobs.data_ptr<float>()[i]);
      if (position + 1 == ids_of(slot).size()) continue;
      going.push_back(slot);
      tokens.push_back(targets[i]);
    }
    if (going.empty()) return;
    cache.keep(std::move(going));
    hidden =
        decoder.decode(at::tensor(tokens, at::TensorOptions().dtype(at::kInt)).to(decoder.device()),
                       options, cache);
  }
}

}  // namespace

std::vector<std::vector<double>> score_continuations(const model::Decoder& decoder,
                                                     std::span<const Question> questions,
                                                     std::int64_t max_batch, bool use_adapter) {
  const at::NoGradGuard no_grad;
  std::vector<std::vector<double>> out;
  if (questions.empty()) return out;
  const std::size_t group = questions[0].continuations.size();
  const std::size_t wave = std::max<std::size_t>(
      1, static_cast<std::size_t>(max_batch) / std::max<std::size_t>(1, group));
  for (const Question& question : questions) {
    std::size_t longest = 0;
    for (const auto& ids : question.continuations) longest = std::max(longest, ids.size());
    const auto length = static_cast<std::int64_t>(question.prompt.size() + longest);
    if (length > decoder.config().longest_sequence) {
      throw DataError(
          fmt::format("got a prompt with a continuation of {} tokens, want at most the "
                      "model's {} positions",
                      length, decoder.config().longest_sequence));
    }
  }
  for (std::size_t begin = 0; begin < questions.size(); begin += wave) {
    const std::size_t count = std::min(wave, questions.size() - begin);
    score_wave(decoder, questions.subspan(begin, count), use_adapter, out);
  }
  return out;
}

}  // namespace limbic::generation

#include "trainer/generation/generator.h"

#include <algorithm>

#include "trainer/base/error.h"
#include "trainer/base/seed.h"
#include "trainer/generation/aten_sampler.h"

namespace limbic::generation {
namespace {

void check_prompts(const model::ModelConfig& model, const std::vector<Prompt>& prompts,
                   const GenerationConfig& config) {
  for (const Prompt& prompt : prompts) {
    const auto length = static_cast<std::int64_t>(prompt.ids.size());
    if (length == 0) throw DataError("generation: got an empty prompt, want at least one token");
    if (length + config.max_new_tokens > model.longest_sequence) {
      throw DataError(
          fmt::format("generation: got a prompt of {} tokens and max_new_tokens {}, want "
                      "at most the model's {} positions together",
                      length, config.max_new_tokens, model.longest_sequence));
    }
    model.check_continuation(length, length + config.max_new_tokens);
    model.check_tokens(prompt.ids);
  }
}

// One batch: prompts [first, last) with all their completions.
class Wave {
 public:
  Wave(const model::Decoder& decoder, const std::vector<Prompt>& prompts, std::size_t first,
       std::size_t last, const GenerationConfig& config, const TokenSink& sink,
       std::vector<std::vector<Completion>>& out)
      : decoder_(decoder),
        prompts_(prompts),
        first_(first),
        last_(last),
        config_(config),
        sink_(sink),
        out_(out),
        cache_(config.group, config.max_new_tokens) {}

  // False when the sink asked to stop.
  bool run() {
    const model::ForwardOptions options{.use_adapter = config_.use_adapter};
    std::vector<std::span<const std::int32_t>> sequences;
    for (std::size_t p = first_; p < last_; ++p) sequences.emplace_back(prompts_[p].ids);
    at::Tensor hidden = decoder_.prefill(pack(sequences, decoder_.device()), options, cache_);
    at::Tensor logits = decoder_.logits(hidden, options.use_adapter);
    if (config_.group > 1) logits = logits.repeat_interleave(config_.group, 0);
    for (std::int64_t position = 0; position < config_.max_new_tokens; ++position) {
      const std::vector<std::int32_t> tokens = draw(logits, position);
      if (!going_on_) return false;
      if (tokens.empty() || position + 1 == config_.max_new_tokens) break;
      const at::Tensor next = at::tensor(tokens, at::TensorOptions().dtype(at::kInt));
      hidden = decoder_.decode(next.to(decoder_.device()), options, cache_);
      logits = decoder_.logits(hidden, options.use_adapter);
    }
    return true;
  }

 private:
  // Appends one token to every active sequence; returns the tokens of those that go on.
  std::vector<std::int32_t> draw(const at::Tensor& logits, std::int64_t position) {
    const auto group = static_cast<std::size_t>(config_.group);
    std::vector<std::uint64_t> seeds;
    for (const std::int64_t slot : cache_.active()) {
      const std::size_t at = static_cast<std::size_t>(slot);
      seeds.push_back(
          derive_seed(prompts_[first_ + at / group].seed, "draw", at % group, position));
    }
    const auto sample = decoder_.math() == Math::kAten ? sample_rows_with_aten : sample_rows;
    const std::vector<Draw> draws = sample(logits, config_.sampling, seeds, {});
    std::vector<std::int32_t> tokens;
    std::vector<std::int64_t> going;
    for (std::size_t i = 0; i < draws.size(); ++i) {
      const std::size_t at = static_cast<std::size_t>(cache_.active()[i]);
      Completion& completion = out_[first_ + at / group][at % group];
      completion.ids.push_back(draws[i].token);
      completion.logprobs.push_back(draws[i].logprob);
      completion.sampling_logprobs.push_back(draws[i].sampling_logprob);
      completion.policy_logprobs.push_back(draws[i].policy_logprob);
      completion.stopped = !config_.ignore_stop && is_stop(draws[i].token);
      if (sink_ && !sink_(first_ + at / group, at % group, draws[i].token)) going_on_ = false;
      if (completion.stopped) continue;
      tokens.push_back(draws[i].token);
      going.push_back(cache_.active()[i]);
    }
    cache_.keep(std::move(going));
    return tokens;
  }

  bool is_stop(std::int32_t token) const {
    return std::find(config_.stop_tokens.begin(), config_.stop_tokens.end(), token) !=
           config_.stop_tokens.end();
  }

  const model::Decoder& decoder_;
  const std::vector<Prompt>& prompts_;
  std::size_t first_, last_;
  const GenerationConfig& config_;
  const TokenSink& sink_;
  std::vector<std::vector<Completion>>& out_;
  model::KeyValueCache cache_;
  bool going_on_ = true;
};

}  // namespace

model::PackedTokens pack(const std::vector<std::span<const std::int32_t>>& sequences,
                         at::Device device) {
  std::vector<std::int32_t> tokens;
  std::vector<std::int32_t> positions;
  model::PackedTokens packed;
  packed.offsets.push_back(0);
  for (const auto& sequence : sequences) {
    for (std::size_t i = 0; i < sequence.size(); ++i) {
      tokens.push_back(sequence[i]);
      positions.push_back(static_cast<std::int32_t>(i));
    }
    packed.offsets.push_back(static_cast<std::int64_t>(tokens.size()));
  }
  const auto options = at::TensorOptions().dtype(at::kInt);
  packed.tokens = at::tensor(tokens, options).to(device);
  packed.positions = at::tensor(positions, options).to(device);
  return packed;
}

std::vector<std::vector<Completion>> generate(const model::Decoder& decoder,
                                              const std::vector<Prompt>& prompts,
                                              const GenerationConfig& config,
                                              const TokenSink& sink) {
  check(config.group >= 1 && config.max_new_tokens >= 1, "generation config");
  check_prompts(decoder.config(), prompts, config);
  std::vector<std::vector<Completion>> out(
      prompts.size(), std::vector<Completion>(static_cast<std::size_t>(config.group)));
  const auto wave =
      static_cast<std::size_t>(std::max<std::int64_t>(1, config.max_batch / config.group));
  for (std::size_t first = 0; first < prompts.size(); first += wave) {
    const std::size_t last = std::min(prompts.size(), first + wave);
    if (!Wave(decoder, prompts, first, last, config, sink, out).run()) break;
  }
  return out;
}

}  // namespace limbic::generation

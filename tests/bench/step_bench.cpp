// Times the parts of a step without data or files around it:
//   step_bench MODEL_FOLDER sft|decode ROWS LENGTH THREADS float32|bfloat16 [lora_r]
#include <ATen/Parallel.h>
#include <malloc.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "trainer/generation/generator.h"
#include "trainer/model/decoder.h"
#include "trainer/model/lora.h"
#include "trainer/model/weights.h"

using namespace limbic;

namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::vector<std::vector<std::int32_t>> rows_of(std::int64_t rows, std::int64_t length,
                                               std::int64_t vocabulary) {
  std::vector<std::vector<std::int32_t>> out(static_cast<std::size_t>(rows));
  for (std::size_t r = 0; r < out.size(); ++r) {
    for (std::int64_t i = 0; i < length; ++i) {
      out[r].push_back(static_cast<std::int32_t>(
          (i * 7919 + static_cast<std::int64_t>(r) * 104729) % vocabulary));
    }
  }
  return out;
}

void time_sft(model::Decoder& decoder, const model::PackedTokens& packed, std::int64_t length) {
  std::vector<std::int64_t> sources;
  for (std::size_t s = 0; s + 1 < packed.offsets.size(); ++s) {
    for (std::int64_t t = packed.offsets[s] + length / 2; t + 1 < packed.offsets[s + 1]; ++t)
      sources.push_back(t);
  }
  const at::Tensor rows = at::tensor(sources);
  for (int i = 0; i < 6; ++i) {
    const double start = now();
    const at::Tensor hidden = decoder.hidden(packed, {});
    const auto scores =
        decoder.scores(hidden.index_select(0, rows), packed.tokens.index_select(0, rows + 1));
    const at::Tensor loss = -scores.logprobs.mean();
    const double forward = now();
    loss.backward();
    const double end = now();
    std::printf("step %d: %.0f tokens/s, forward %.3f s, backward %.3f s, loss %.5f\n", i,
                static_cast<double>(packed.tokens.numel()) / (end - start), forward - start,
                end - forward, loss.item<double>());
    for (const auto& leaf : decoder.trained_leaves()) {
      at::Tensor tensor = leaf.tensor;
      tensor.mutable_grad().reset();
    }
  }
}

void time_decode(model::Decoder& decoder, const std::vector<std::vector<std::int32_t>>& rows,
                 std::int64_t fresh) {
  std::vector<generation::Prompt> prompts;
  for (const auto& row : rows) prompts.push_back({row, 1});
  generation::GenerationConfig config;
  config.sampling.temperature = 0.0;
  config.max_new_tokens = fresh;
  for (int i = 0; i < 5; ++i) {
    const double start = now();
    const auto out = generation::generate(decoder, prompts, config);
    const double seconds = now() - start;
    std::printf("generate %d: %.0f tokens/s, %.3f s\n", i,
                static_cast<double>(out.size()) * static_cast<double>(fresh) / seconds, seconds);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 7) return 2;
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 2147483647);
  mallopt(M_TOP_PAD, 256 << 20);
  const std::string what = argv[2];
  const std::int64_t rows = std::atoll(argv[3]);
  const std::int64_t length = std::atoll(argv[4]);
  at::set_num_threads(std::atoi(argv[5]));
  const auto type = std::string(argv[6]) == "bfloat16" ? at::kBFloat16 : at::kFloat;
  const std::int64_t rank = argc > 7 ? std::atoll(argv[7]) : 0;
  model::Decoder decoder(model::ModelConfig::load(argv[1]), type, at::kCPU);
  const bool full = rank == 0 && what == "sft";
  model::load_weights(decoder, argv[1],
                      full ? model::WeightUse::kTrained : model::WeightUse::kFrozen);
  model::LoraConfig lora;
  lora.r = rank;
  if (rank > 0) model::attach_lora(decoder, lora, 1, true);
  const auto data = rows_of(rows, length, decoder.config().vocab_size);
  if (what == "sft") {
    time_sft(decoder, generation::pack({data.begin(), data.end()}, at::kCPU), length);
  } else {
    time_decode(decoder, data, argc > 8 ? std::atoll(argv[8]) : 64);
  }
  return 0;
}

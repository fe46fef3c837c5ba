// Batched generation from the trainer's own weights: every prompt is run once and shared by its
// group, finished sequences leave the batch at once.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "trainer/generation/sampler.h"
#include "trainer/model/decoder.h"

namespace limbic::generation {

struct GenerationConfig {
  SamplingConfig sampling;
  std::int64_t max_new_tokens = 16;
  std::int64_t group = 1;  // completions per prompt
  std::vector<std::int32_t>
      stop_tokens;               // a completion ends with the first of these, which it keeps
  bool ignore_stop = false;      // stop tokens may be drawn and do not end anything
  std::int64_t max_batch = 256;  // sequences decoded at a time
  bool use_adapter = true;
};

struct Prompt {
  std::vector<std::int32_t> ids;  // not empty
  std::uint64_t seed =
      0;  // completion g of the prompt draws from derive_seed(seed, "draw", g, position)
};

struct Completion {
  std::vector<std::int32_t> ids;  // the stop token included
  std::vector<float> logprobs;
  std::vector<float> sampling_logprobs;
  std::vector<float> policy_logprobs;  // all three as in Draw
  bool stopped = false;                // ended by a stop token, not by the length limit
};

// Called after every token of every sequence; return false to stop generating altogether.
using TokenSink = std::function<bool(std::size_t prompt, std::size_t index, std::int32_t token)>;

// One list of `group` completions per prompt, in order. Throws DataError when a prompt plus
// max_new_tokens exceeds the model's positions or its sliding window, or has tokens that the model
// does not have.
std::vector<std::vector<Completion>> generate(const model::Decoder& decoder,
                                              const std::vector<Prompt>& prompts,
                                              const GenerationConfig& config,
                                              const TokenSink& sink = {});

// Packs sequences one behind the other for the decoder.
model::PackedTokens pack(const std::vector<std::span<const std::int32_t>>& sequences,
                         at::Device device);

}  // namespace limbic::generation

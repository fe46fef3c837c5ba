// Sampled completions with everything that is known about them, and the packed batches that they
// go through the model in. Tokens are the record, text is a view: ids and log-probabilities come
// from the generator and travel together.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/batch.h"
#include "rewards/score.h"
#include "trainer/engine/train_config.h"
#include "trainer/model/decoder.h"

namespace limbic::rl {

struct Trajectory {
  std::int64_t prompt = 0;  // index of its prompt among those of the rollout, over all ranks
  std::int64_t member = 0;  // index in the group
  std::vector<std::int32_t> prompt_ids = {};
  std::vector<std::int32_t> ids = {};         // the stop token included
  std::vector<float> sampled_logprobs = {};   // [ids] of the policy when they were drawn
  std::vector<float> sampling_logprobs = {};  // [ids] under the distribution they were drawn from
  std::vector<float> old_logprobs = {};  // [ids] of the first pass over the rollout; else empty
  std::vector<float> ref_logprobs = {};  // [ids] of the reference; empty with beta 0
  bool truncated = false;                // ended by the length limit
  std::string text = {};                 // special tokens kept, the stop token dropped
  rewards::Score score = {};
  double weight = 1.0;                       // of its row in the loss
  std::optional<double> advantage = {};      // empty: takes no part
  std::vector<float> token_advantages = {};  // [ids]; empty: the same for all
};

struct TrajectoryBatch {
  std::vector<std::size_t> members;  // trajectories, in the order of their targets
  data::PackedBatch batch;           // a prompt is computed once for its completions
};

// The named trajectories in micro-batches; every completion token is a target. Neighbours of one
// prompt share it.
std::vector<TrajectoryBatch> cut_trajectories(std::span<const Trajectory> trajectories,
                                              std::span<const std::size_t> members,
                                              const engine::TrainConfig& config);

// Whose log-probabilities beta pulls towards.
struct Reference {
  const model::Decoder& decoder;
  bool use_adapter = false;
};
// Fills in ref_logprobs of all trajectories. No gradient.
void score_reference(const Reference& reference, std::span<Trajectory> trajectories,
                     const engine::TrainConfig& config, double temperature);

}  // namespace limbic::rl

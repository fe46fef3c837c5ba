#include "rl/policy/trajectory.h"

#include <numeric>

#include "trainer/engine/micro_batches.h"
#include "trainer/engine/score_targets.h"

namespace limbic::rl {
namespace {

data::Example document(const std::vector<std::int32_t>& ids, std::uint8_t target,
                       std::int64_t prompt) {
  return {.ids = ids, .loss_mask = std::vector<std::uint8_t>(ids.size(), target), .row = prompt};
}

}  // namespace

std::vector<TrajectoryBatch> cut_trajectories(std::span<const Trajectory> trajectories,
                                              std::span<const std::size_t> members,
                                              const engine::TrainConfig& config) {
  std::vector<std::int64_t> lengths;
  for (const std::size_t i : members) {
    const Trajectory& t = trajectories[i];
    lengths.push_back(static_cast<std::int64_t>(t.prompt_ids.size() + t.ids.size()));
  }
  std::vector<TrajectoryBatch> out;
  for (const auto& group : engine::cut_documents(lengths, config)) {
    TrajectoryBatch batch;
    std::vector<data::Family> families;
    for (const std::size_t i : group) {
      const Trajectory& t = trajectories[members[i]];
      batch.members.push_back(members[i]);
      if (families.empty() || families.back().first.row != t.prompt) {
        families.push_back({document(t.prompt_ids, 0, t.prompt), {}});
      }
      families.back().rest.push_back(document(t.ids, 1, t.prompt));
    }
    batch.batch = data::concat_families(families);
    out.push_back(std::move(batch));
  }
  return out;
}

void score_reference(const Reference& reference, std::span<Trajectory> trajectories,
                     const engine::TrainConfig& config, double temperature) {
  const at::NoGradGuard no_grad;
  std::vector<std::size_t> all(trajectories.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  for (const TrajectoryBatch& micro : cut_trajectories(trajectories, all, config)) {
    const engine::TargetScores scored = engine::score_targets(
        reference.decoder, micro.batch, {.use_adapter = reference.use_adapter}, {}, temperature);
    const at::Tensor logprobs = scored.scores.logprobs.cpu().contiguous();
    const float* next = logprobs.data_ptr<float>();
    for (const std::size_t i : micro.members) {
      Trajectory& t = trajectories[i];
      t.ref_logprobs.assign(next, next + t.ids.size());
      next += t.ids.size();
    }
  }
}

}  // namespace limbic::rl

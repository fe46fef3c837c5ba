#include "rl/policy/policy_step.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "trainer/base/seed.h"
#include "trainer/engine/score_targets.h"
#include "trainer/parallel/collectives.h"

namespace limbic::rl {
namespace {

// The values of all ranks.
std::vector<float> gather_floats(parallel::Communicator& communicator,
                                 const std::vector<float>& mine) {
  const std::string bytes(reinterpret_cast<const char*>(mine.data()), mine.size() * sizeof(float));
  std::vector<float> all;
  for (const std::string& part : communicator.all_gather_bytes(bytes)) {
    const std::size_t begin = all.size();
    all.resize(begin + part.size() / sizeof(float));
    if (!part.empty()) std::memcpy(all.data() + begin, part.data(), part.size());
  }
  return all;
}

void append(std::vector<float>& to, const std::vector<float>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

PolicyStep::PolicyStep(engine::RunContext& context, const PolicyConfig& config,
                       std::vector<Trajectory>& trajectories, std::int64_t step)
    : context_(context), config_(config), trajectories_(trajectories), step_(step) {
  batches_ = cut_trajectories(trajectories, members(), config.train);
  for (const TrajectoryBatch& micro : batches_) {
    sums_.tokens += static_cast<double>(micro.batch.loss_tokens);
    sums_.completions += static_cast<double>(micro.members.size());
  }
  // A masked completion has no tokens in the loss, but counts among those it is averaged over.
  const auto completions = std::count_if(trajectories.begin(), trajectories.end(),
                                         [](const Trajectory& t) { return t.advantage; });
  const std::vector<double> all =
      parallel::sum(context.communicator, {sums_.tokens, static_cast<double>(completions)});
  totals_ = {.tokens = all[0],
             .completions = all[1],
             .selected = all[0],
             .max_completion_length = static_cast<double>(config.max_completion_length)};
  if (config.loss.selects_tokens()) select_tokens();
}

std::vector<std::size_t> PolicyStep::members() const {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < trajectories_.size(); ++i) {
    const Trajectory& t = trajectories_[i];
    if (t.advantage && !(config_.mask_truncated_completions && t.truncated)) out.push_back(i);
  }
  return out;
}

std::uint64_t PolicyStep::dropout_seed(std::size_t i) const {
  return derive_seed(context_.seed, "dropout", step_, context_.communicator.rank(), i);
}

// The threshold is one of the whole step, so it is known only after all its tokens were seen
// (without dropout, which is off where no gradient is kept).
void PolicyStep::select_tokens() {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> entropies;
  std::vector<float> mine;
  context_.decoder.run_passes([&] {
    for (const TrajectoryBatch& micro : batches_) {
      const engine::TargetScores scored =
          engine::score_targets(context_.decoder, micro.batch, {}, {}, temperature_of(config_));
      entropies.push_back(scored.scores.entropy.cpu().contiguous());
      const float* values = entropies.back().data_ptr<float>();
      mine.insert(mine.end(), values, values + entropies.back().numel());
    }
  });
  const double threshold = entropy_threshold(gather_floats(context_.communicator, mine),
                                             config_.loss.top_entropy_quantile);
  double chosen = 0.0;
  for (const at::Tensor& entropy : entropies) {
    selected_.push_back(entropy.to(at::kDouble).ge(threshold).to(at::kFloat));
    chosen += selected_.back().sum().item<double>();
  }
  totals_.selected = parallel::sum(context_.communicator, {chosen})[0];
}

PolicyInputs PolicyStep::inputs(const TrajectoryBatch& micro, const model::TokenScores& scores) {
  PolicyInputs in;
  in.logprobs = scores.logprobs;
  const at::Tensor now = scores.logprobs.detach().cpu().contiguous();
  std::vector<float> advantages, weights, sampling, old, reference;
  const float* next = now.data_ptr<float>();
  for (const std::size_t i : micro.members) {
    Trajectory& t = trajectories_[i];
    if (config_.num_iterations > 1 && t.old_logprobs.empty()) {
      t.old_logprobs.assign(next, next + t.ids.size());
    }
    next += t.ids.size();
    in.lengths.push_back(static_cast<std::int64_t>(t.ids.size()));
    if (t.token_advantages.empty()) {
      advantages.insert(advantages.end(), t.ids.size(), static_cast<float>(*t.advantage));
    } else {
      append(advantages, t.token_advantages);
    }
    weights.insert(weights.end(), t.ids.size(), static_cast<float>(t.weight));
    append(sampling, t.sampling_logprobs);
    append(old, t.old_logprobs);
    append(reference, t.ref_logprobs);
  }
  const auto tensor = [&](const std::vector<float>& values) {
    return values.empty() ? at::Tensor() : at::tensor(values).to(scores.logprobs.device());
  };
  in.old_logprobs = tensor(old);
  in.ref_logprobs = tensor(reference);
  in.sampling_logprobs = tensor(sampling);
  in.entropy = scores.entropy;
  in.advantages = tensor(advantages);
  if (!config_.sample_weight.empty()) in.weights = tensor(weights);
  return in;
}

at::Tensor PolicyStep::loss(std::size_t i) {
  const TrajectoryBatch& micro = batches_[i];
  const model::TokenScores scores =
      engine::score_targets(context_.decoder, micro.batch, {.dropout_seed = dropout_seed(i)},
                            {.entropy_gradient = config_.loss.entropy_coef > 0.0},
                            temperature_of(config_))
          .scores;
  PolicyInputs in = inputs(micro, scores);
  if (!selected_.empty()) in.selected = selected_[i].to(scores.logprobs.device());
  const PolicyLoss out = policy_loss(in, totals_, config_.loss);
  count(micro, in, out);
  return out.loss;
}

void PolicyStep::count(const TrajectoryBatch& micro, const PolicyInputs& in,
                       const PolicyLoss& out) {
  sums_.loss += out.loss.item<double>();
  sums_.kl += out.kl;
  sums_.clip_low += out.clip_low;
  sums_.clip_high += out.clip_high;
  sums_.clip_low_min = std::min(sums_.clip_low_min, out.clip_low_min);
  sums_.clip_high_max = std::max(sums_.clip_high_max, out.clip_high_max);
  sums_.bonus += out.bonus;
  sums_.correction += out.correction;
  const bool first = sums_.correction_max == 0.0;
  sums_.correction_min =
      first ? out.correction_min : std::min(sums_.correction_min, out.correction_min);
  sums_.correction_max = std::max(sums_.correction_max, out.correction_max);
  sums_.entropy += in.entropy.detach().sum().item<double>();
  std::vector<float> sampled;
  for (const std::size_t i : micro.members) append(sampled, trajectories_[i].sampled_logprobs);
  const at::Tensor difference = (in.logprobs.detach().cpu() - at::tensor(sampled)).abs();
  sums_.difference += difference.sum().item<double>();
  sums_.largest_difference = std::max(sums_.largest_difference, difference.max().item<double>());
}

void PolicyStep::put_clips(Json& out, double units, double low, double high) {
  const std::vector<double> extremes =
      parallel::max(context_.communicator, {-sums_.clip_low_min, sums_.clip_high_max});
  if (config_.loss.loss_type == LossType::kCispo) {
    out["cispo_clip_ratio"] = high / units;
  } else if (config_.loss.loss_type != LossType::kSapo) {
    out["clip_ratio/low_mean"] = low / units;
    out["clip_ratio/low_min"] = totals_.tokens > 0.0 ? -extremes[0] + 0.0 : 0.0;
    out["clip_ratio/high_mean"] = high / units;
    out["clip_ratio/high_max"] = extremes[1];
    out["clip_ratio/region_mean"] = (low + high) / units;
  }
}

Json PolicyStep::metrics() {
  parallel::Communicator& comm = context_.communicator;
  const std::vector<double> all = parallel::sum(
      comm, {sums_.kl, sums_.entropy, sums_.clip_low, sums_.clip_high, sums_.difference,
             sums_.completions, sums_.bonus, sums_.correction, sums_.loss});
  const bool unseen = sums_.tokens == 0.0;
  const double nothing = -std::numeric_limits<double>::infinity();
  const std::vector<double> extremes =
      parallel::max(comm, {sums_.largest_difference, unseen ? nothing : -sums_.correction_min,
                           unseen ? nothing : sums_.correction_max});
  const double tokens = std::max(1.0, totals_.tokens);
  const bool by_token = config_.loss.importance_sampling_level == Level::kToken;
  Json out = {{"entropy", all[1] / tokens}};
  put_clips(out, by_token ? tokens : std::max(1.0, all[5]), all[2], all[3]);
  out["sampling/sampling_logp_difference/mean"] = all[4] / tokens;
  out["sampling/sampling_logp_difference/max"] = extremes[0];
  if (config_.loss.kl.in_loss()) out["kl"] = all[0] / tokens;
  if (config_.loss.correction.enabled && totals_.tokens > 0.0) {
    out["sampling/importance_sampling_ratio/min"] = -extremes[1];
    out["sampling/importance_sampling_ratio/mean"] = all[7] / tokens;
    out["sampling/importance_sampling_ratio/max"] = extremes[2];
  }
  if (config_.loss.entropy_coef > 0.0) {
    out["policy_loss"] = all[8] + all[6];
    out["entropy_coef"] = config_.loss.entropy_coef;
  }
  return out;
}

}  // namespace limbic::rl

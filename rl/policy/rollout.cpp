#include "rl/policy/rollout.h"

#include <chrono>
#include <set>
#include <thread>

#include "data/messages.h"
#include "data/row.h"
#include "rewards/config.h"
#include "trainer/base/error.h"
#include "trainer/base/log.h"
#include "trainer/base/seed.h"
#include "trainer/engine/stop_tokens.h"
#include "trainer/generation/generator.h"
#include "trainer/parallel/collectives.h"

namespace limbic::rl {
namespace {

constexpr std::size_t kMaxLabelBytes = 40;  // a longer text is no label
constexpr std::size_t kMaxDistinctLabels = 200;

// How often each short text stands in each column: what inverse-frequency weights need.
rewards::LabelCounts count_short_columns(const data::Mixture& rows) {
  rewards::LabelCounts counts;
  std::set<std::string> too_many;
  for (std::int64_t i = 0; i < rows.size(); ++i) {
    for (auto& [column, value] : data::reward_columns(rows.row(i))) {
      if (value.size() > kMaxLabelBytes || too_many.count(column) > 0) continue;
      auto& labels = counts[column];
      ++labels[value];
      if (labels.size() <= kMaxDistinctLabels) continue;
      too_many.insert(column);
      counts.erase(column);
    }
  }
  return counts;
}

void require_columns(const rewards::Description& description, const data::Mixture& rows) {
  std::map<std::string, std::string> missing;  // column: term
  for (const auto& term : description.terms) {
    for (const auto& column : term.columns) missing.emplace(column, term.name);
  }
  for (std::int64_t i = 0; i < rows.size() && !missing.empty(); ++i) {
    for (const auto& [column, value] : data::reward_columns(rows.row(i))) missing.erase(column);
  }
  if (missing.empty()) return;
  const auto& [column, term] = *missing.begin();
  const data::Row first = rows.row(0);
  throw DataError(
      fmt::format("{}:{}: got no column '{}' in any row, want it for the reward term "
                  "'{}'",
                  first.file, first.line, column, term));
}

std::vector<double> weights_of(const data::Mixture& rows, const std::string& column) {
  std::vector<double> weights;
  for (std::int64_t i = 0; i < rows.size(); ++i) {
    const data::Row row = rows.row(i);
    const Json& value = data::want_column(row, column, "a weight of 0 or more (sample_weight)");
    if (!value.is_number() || value.get<double>() < 0.0) {
      data::fail_row(row, fmt::format("got {} in column '{}', want a weight of 0 or more",
                                      data::in_words(value), column));
    }
    weights.push_back(value.get<double>());
  }
  return weights;
}

// A graph of this process counts the labels of the rows; workers have their own.
std::shared_ptr<rewards::Scorer> scorer_for(const rewards::RewardsConfig& rewards,
                                            const data::Mixture& rows, std::uint64_t seed) {
  rewards::GraphContext graph{.label_counts = {}, .seed = seed};
  if (rewards.remote.workers.empty()) graph.label_counts = count_short_columns(rows);
  return rewards::make_scorer(rewards, graph);
}

}  // namespace

void check_scoring(const PolicyConfig& config, const rewards::RewardsConfig& rewards,
                   const data::Mixture& rows, int world) {
  prompts_per_rollout(config, world);
  if (rewards.remote.workers.empty())
    require_columns(scorer_for(rewards, rows, 0)->describe(), rows);
}

RolloutCollector::RolloutCollector(engine::RunContext& context, const PolicyConfig& config,
                                   const data::Mixture& rows, const Reference& reference)
    : context_(context), config_(config), rows_(rows), reference_(reference) {
  const std::string problem = by_term_problem(config, context.rewards);
  if (!problem.empty()) throw ConfigError(problem);
  if (!config.sample_weight.empty()) weights_ = weights_of(rows, config.sample_weight);
  scorer_ = scorer_for(context.rewards, rows,
                       derive_seed(context.seed, "retry", context.communicator.rank()));
  parallel::together(context.communicator, [&] {
    scorer_->connect();
    require_columns(scorer_->describe(), rows_);
  });
}

std::vector<Trajectory> RolloutCollector::generate(std::span<const RolloutPrompt> prompts,
                                                   std::int64_t rollout) {
  if (prompts.empty()) return {};
  std::vector<generation::Prompt> requests;
  for (const RolloutPrompt& prompt : prompts) {
    requests.push_back({.ids = prompt.prompt->ids,
                        .seed = derive_seed(context_.seed, "sample " + context_.stage_name, rollout,
                                            prompt.index)});
  }
  const generation::GenerationConfig settings{.sampling = config_.sampling,
                                              .max_new_tokens = config_.max_completion_length,
                                              .group = config_.num_generations,
                                              .stop_tokens = engine::stop_tokens(context_),
                                              .max_batch = config_.generation_batch_size};
  auto groups = generation::generate(context_.decoder, requests, settings);
  std::vector<Trajectory> trajectories;
  for (std::size_t p = 0; p < groups.size(); ++p) {
    for (std::size_t g = 0; g < groups[p].size(); ++g) {
      generation::Completion& completion = groups[p][g];
      Trajectory t{.prompt = prompts[p].index,
                   .member = static_cast<std::int64_t>(g),
                   .prompt_ids = prompts[p].prompt->ids};
      t.truncated = !completion.stopped;
      t.text = engine::completion_text(context_.tokenizer, completion, false);
      t.ids = std::move(completion.ids);
      t.sampled_logprobs = std::move(completion.policy_logprobs);
      t.sampling_logprobs = std::move(completion.sampling_logprobs);
      if (!weights_.empty()) t.weight = weights_[static_cast<std::size_t>(prompts[p].prompt->row)];
      trajectories.push_back(std::move(t));
    }
  }
  return trajectories;
}

void RolloutCollector::score(std::span<const RolloutPrompt> prompts,
                             std::vector<Trajectory>& trajectories, std::int64_t rollout) {
  const auto group = static_cast<std::size_t>(config_.num_generations);
  std::vector<rewards::Completion> batch;
  for (std::size_t i = 0; i < trajectories.size(); ++i) {
    const Trajectory& t = trajectories[i];
    const engine::PromptRow& prompt = *prompts[i / group].prompt;
    rewards::Completion completion;
    completion.group = fmt::format("{}/{}/{}/{}", context_.config_hash.substr(0, 12),
                                   context_.stage_name, rollout, t.prompt);
    completion.key = fmt::format("{}/{}", completion.group, t.member);
    completion.prompt = prompt.messages.is_string()
                            ? Json::array({{{"role", "user"}, {"content", prompt.messages}}})
                            : prompt.messages;
    completion.text = t.text;
    completion.ids = t.ids;
    completion.truncated = t.truncated;
    for (auto& [name, value] : data::reward_columns(rows_.row(prompt.row))) {
      completion.columns.emplace(name, value);
    }
    batch.push_back(std::move(completion));
  }
  if (batch.empty()) return;
  const std::int64_t policy_step = rollout * config_.num_iterations;
  std::vector<rewards::Score> scores = scorer_->score(batch, policy_step);
  check(scores.size() == batch.size(), "one score per completion");
  if (context_.rewards.on_failure == rewards::OnFailure::kWait) {
    wait_for_failed(batch, scores, policy_step);
  }
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i].status == rewards::Status::kFailed &&
        context_.rewards.on_failure == rewards::OnFailure::kFailStep) {
      const auto& components = scores[i].components;
      throw RemoteError(
          fmt::format("rewards: {}: got a failed reward ({}), want a number "
                      "(on_failure: fail_step)",
                      batch[i].key, components.empty() ? "" : components.front().detail));
    }
    trajectories[i].score = std::move(scores[i]);
  }
}

void RolloutCollector::wait_for_failed(std::span<const rewards::Completion> batch,
                                       std::vector<rewards::Score>& scores,
                                       std::int64_t policy_step) {
  const auto give_up = std::chrono::steady_clock::now() +
                       std::chrono::duration<double>(context_.rewards.remote.unreachable_after_s);
  while (true) {
    std::vector<std::size_t> failed;
    std::vector<rewards::Completion> again;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      if (scores[i].status != rewards::Status::kFailed) continue;
      failed.push_back(i);
      again.push_back(batch[i]);
    }
    if (failed.empty()) return;
    if (std::chrono::steady_clock::now() > give_up || context_.stop_requested) {
      throw RemoteError(
          fmt::format("rewards: got {} rewards that stay failed, want numbers within "
                      "unreachable_after_s {} (on_failure: wait)",
                      failed.size(), context_.rewards.remote.unreachable_after_s));
    }
    spdlog::warn("rewards: {} failed, asking again", failed.size());
    std::this_thread::sleep_for(std::chrono::seconds(1));
    std::vector<rewards::Score> fresh = scorer_->score(again, policy_step);
    for (std::size_t i = 0; i < failed.size(); ++i) scores[failed[i]] = std::move(fresh[i]);
  }
}

Rollout RolloutCollector::collect(std::span<const RolloutPrompt> prompts, std::int64_t rollout) {
  Rollout out;
  parallel::together(context_.communicator, [&] {
    context_.decoder.run_passes([&] {
      out.trajectories = generate(prompts, rollout);
      score(prompts, out.trajectories, rollout);
      if (config_.loss.kl.beta > 0.0) {
        score_reference(reference_, out.trajectories, config_.train, temperature_of(config_));
      }
    });
  });
  out.dropped = set_credit(context_.communicator, context_.tokenizer, context_.rewards, config_,
                           out.trajectories, rollout * config_.num_iterations);
  return out;
}

}  // namespace limbic::rl

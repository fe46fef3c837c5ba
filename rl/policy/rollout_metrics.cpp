#include "rl/policy/rollout_metrics.h"

#include <cmath>

namespace limbic::rl {
namespace {

// Welford's updates: equal values have deviation 0 to the bit.
struct Moments {
  double count = 0.0, average = 0.0, squares = 0.0;  // squares: of the distances from the average
  void add(double value) {
    count += 1.0;
    const double distance = value - average;
    average += distance / count;
    squares += distance * (value - average);
  }
  double mean() const { return average; }
  double deviation() const { return count < 2.0 ? 0.0 : std::sqrt(squares / (count - 1.0)); }
};

struct Spread {
  Moments moments;
  double low = 0.0, high = 0.0;
  void add(double value) {
    low = moments.count == 0.0 ? value : std::min(low, value);
    high = moments.count == 0.0 ? value : std::max(high, value);
    moments.add(value);
  }
};

void put_lengths(Json& out, const std::string& kind, const Spread& spread) {
  const bool any = spread.moments.count > 0.0;
  out["completions/mean_" + kind] = any ? spread.moments.mean() : 0.0;
  out["completions/min_" + kind] = spread.low;
  out["completions/max_" + kind] = spread.high;
}

Json to_json(const Trajectory& t) {
  Json components = Json::array();
  for (const auto& c : t.score.components) {
    if (c.value)
      components.push_back({c.name, static_cast<int>(c.status), *c.value});
    else
      components.push_back({c.name, static_cast<int>(c.status)});
  }
  return {t.prompt,
          static_cast<std::int64_t>(t.ids.size()),
          t.truncated,
          static_cast<int>(t.score.status),
          t.score.reward.value_or(0.0),
          components};
}

CompletionRecord from_json(const Json& j) {
  CompletionRecord record{.group = j[0],
                          .length = j[1],
                          .truncated = j[2],
                          .status = static_cast<rewards::Status>(j[3].get<int>()),
                          .reward = j[4]};
  for (const Json& c : j[5]) {
    rewards::Component component;
    component.name = c[0];
    component.status = static_cast<rewards::Status>(c[1].get<int>());
    if (c.size() > 2) component.value = c[2].get<double>();
    record.components.push_back(std::move(component));
  }
  return record;
}

void put_components(Json& out, const std::vector<CompletionRecord>& records) {
  std::vector<std::string> order;
  std::map<std::string, Moments> by_name;
  for (const auto& record : records) {
    for (const auto& component : record.components) {
      if (by_name.try_emplace(component.name).second) order.push_back(component.name);
      if (component.value) by_name[component.name].add(*component.value);
    }
  }
  for (const std::string& name : order) {
    const Moments& m = by_name[name];
    if (m.count > 0.0) {
      out["rewards/" + name + "/mean"] = m.mean();
      out["rewards/" + name + "/std"] = m.deviation();
    }
    out["rewards/" + name + "/applicable"] = m.count / static_cast<double>(records.size());
  }
}

}  // namespace

std::vector<CompletionRecord> gather_records(parallel::Communicator& communicator,
                                             const Rollout& rollout) {
  Json mine = Json::array();
  for (const Trajectory& t : rollout.trajectories) mine.push_back(to_json(t));
  std::vector<CompletionRecord> records;
  for (const std::string& part : communicator.all_gather_bytes(mine.dump())) {
    for (const Json& record : Json::parse(part)) records.push_back(from_json(record));
  }
  return records;
}

Json rollout_metrics(const std::vector<CompletionRecord>& records) {
  Spread lengths, terminated;
  Moments rewards;
  std::map<std::int64_t, Moments> groups;
  std::int64_t failed = 0, not_applicable = 0, clipped = 0;
  for (const CompletionRecord& record : records) {
    lengths.add(static_cast<double>(record.length));
    if (record.truncated)
      ++clipped;
    else
      terminated.add(static_cast<double>(record.length));
    if (record.status == rewards::Status::kFailed) ++failed;
    if (record.status == rewards::Status::kNotApplicable) ++not_applicable;
    if (record.status != rewards::Status::kScored) continue;
    rewards.add(record.reward);
    groups[record.group].add(record.reward);
  }
  Json out = Json::object();
  put_lengths(out, "length", lengths);
  put_lengths(out, "terminated_length", terminated);
  const double count = std::max<double>(1.0, static_cast<double>(records.size()));
  out["completions/clipped_ratio"] = static_cast<double>(clipped) / count;
  double flat = 0.0;
  for (const auto& [group, moments] : groups) {
    flat += moments.deviation() < 1e-12 ? 1.0 : 0.0;
  }
  const double group_count = std::max<double>(1.0, static_cast<double>(groups.size()));
  out["reward"] = rewards.count > 0.0 ? Json(rewards.mean()) : Json();
  out["reward_std"] = rewards.deviation();
  out["frac_reward_zero_std"] = flat / group_count;
  put_components(out, records);
  out["rewards/failed"] = failed;
  out["rewards/not_applicable"] = not_applicable;
  return out;
}

}  // namespace limbic::rl

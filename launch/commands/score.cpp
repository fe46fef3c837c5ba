// `limbic score`: a reward graph on finished completions.
#include <map>

#include "data/messages.h"
#include "launch/commands/commands.h"
#include "launch/commands/row_files.h"
#include "launch/config/rewards_file.h"
#include "rewards/terms/term.h"
#include "trainer/base/error.h"
#include "trainer/base/log.h"

namespace limbic::launch {
namespace {

constexpr std::size_t kRowsAtATime = 64;

struct ScoreOptions {
  std::string rewards, input, output;
  std::vector<std::string> overrides;
};

// One completion as text: a string, or {"text": ..., "ids"?, "finish_reason"?} as `generate`
// writes.
rewards::Completion completion_of(const data::Row& row, const Json& value) {
  rewards::Completion out;
  if (value.is_string()) {
    out.text = value.get<std::string>();
    return out;
  }
  if (!value.is_object() || !value.contains("text") || !value["text"].is_string()) {
    data::fail_row(row, fmt::format("got {} as a completion, want a string or {{\"text\": ...}}",
                                    data::in_words(value)));
  }
  out.text = value["text"].get<std::string>();
  if (value.contains("ids")) {
    for (const Json& id : value["ids"]) {
      if (!id.is_number_integer())
        data::fail_row(row, "got ids that are no numbers in a completion");
      out.ids.push_back(id.get<std::int32_t>());
    }
  }
  out.truncated = value.value("finish_reason", Json()) == "length";
  return out;
}

Json prompt_of(const data::Row& row) {
  if (const Json* messages = data::find_column(row, "messages")) return *messages;
  const Json* prompt = data::find_column(row, "prompt");
  if (prompt == nullptr) return Json::array();
  if (prompt->is_string()) return Json::array({{{"role", "user"}, {"content", *prompt}}});
  return *prompt;
}

std::vector<rewards::Completion> completions_of(const data::Row& row) {
  std::vector<rewards::Completion> out;
  if (const Json* list = data::find_column(row, "completions")) {
    if (!list->is_array() || list->empty()) {
      data::fail_row(row, fmt::format("got {} in 'completions', want a list that is not empty",
                                      data::in_words(*list)));
    }
    for (const Json& value : *list) out.push_back(completion_of(row, value));
  } else {
    out.push_back(
        completion_of(row, data::want_column(row, "completion", "completion or completions")));
  }
  const std::string group = fmt::format("{}:{}", row.file, row.line);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i].group = group;
    out[i].key = fmt::format("{}/{}", group, i);
    out[i].prompt = prompt_of(row);
    for (auto& [name, value] : data::reward_columns(row)) {
      if (name != "completions") out[i].columns.emplace(name, value);
    }
  }
  return out;
}

Json to_json(const rewards::Score& score) {
  Json components = Json::object();
  for (const rewards::Component& component : score.components) {
    Json& entry = components[component.name];
    entry["status"] = rewards::status_name(component.status);
    if (component.value) entry["value"] = *component.value;
    if (!component.detail.empty()) entry["detail"] = component.detail;
  }
  return {{"reward", score.reward ? Json(*score.reward) : Json()}, {"components", components}};
}

// Column: the term of this process that reads it.
std::map<std::string, std::string> columns_of(const RewardsFile& file, rewards::Scorer& scorer) {
  std::map<std::string, std::string> columns;
  if (!file.rewards.remote.workers.empty()) return columns;
  for (const auto& term : scorer.describe().terms) {
    for (const std::string& column : term.columns) columns.emplace(column, term.name);
  }
  return columns;
}

int score(const ScoreOptions& options) {
  const RewardsFile file = load_rewards_file(options.rewards, options.overrides);
  const auto scorer = file.make_scorer();
  auto unseen = columns_of(file, *scorer);
  transform_rows(options.input, options.output, kRowsAtATime,
                 [&](const std::vector<RowText>& rows) {
                   std::vector<rewards::Completion> batch;
                   std::vector<std::size_t> counts;
                   for (const RowText& row : rows) {
                     std::vector<rewards::Completion> completions = completions_of(row.row);
                     counts.push_back(completions.size());
                     for (const auto& [name, value] : completions[0].columns) unseen.erase(name);
                     std::move(completions.begin(), completions.end(), std::back_inserter(batch));
                   }
                   const std::vector<rewards::Score> scores = scorer->score(batch, 0);
                   std::vector<NewFields> fields;
                   std::size_t next = 0;
                   for (const std::size_t count : counts) {
                     Json list = Json::array();
                     for (std::size_t i = 0; i < count; ++i)
                       list.push_back(to_json(scores[next++]));
                     fields.push_back({{"scores", list.dump()}});
                   }
                   return fields;
                 });
  for (const auto& [column, term] : unseen) {
    spdlog::warn("{}: got no column '{}' in any row, want it for the reward term '{}'",
                 options.input, column, term);
  }
  return 0;
}

}  // namespace

void add_score(Command limbic) {
  Command command = limbic.add("score", "apply a reward graph to finished completions");
  auto options = std::make_shared<ScoreOptions>();
  command.option("--rewards", options->rewards, "any file with a rewards section").required();
  command.option("--input", options->input, "rows with completion or completions").required();
  command.option("--output", options->output, "rows with scores").required();
  command.option("overrides", options->overrides, "section.key=value");
  command.example(
      "limbic score --rewards configs/quickstart_rewards.yaml --input rows.jsonl "
      "--output scored.jsonl");
  command.runs([options] { return score(*options); });
}

}  // namespace limbic::launch

// `limbic data check`: reads all data of an experiment file and reports.
#include <algorithm>
#include <iostream>

#include "data/check.h"
#include "launch/commands/commands.h"
#include "trainer/base/error.h"

namespace limbic::launch {
namespace {

struct DataOptions {
  std::string config;
  std::vector<std::string> overrides;
  bool json = false;
};

// Data that a stage imitates has to have answers.
bool is_learned(const RunConfig& config, const std::string& dataset) {
  for (const StageConfig& stage : config.stages) {
    std::vector<std::string> names;
    if (std::holds_alternative<sft::SftConfig>(stage.options)) names = stage.data();
    if (const auto* chord = std::get_if<rl::ChordConfig>(&stage.options)) names = chord->sft_data;
    if (std::find(names.begin(), names.end(), dataset) != names.end()) return true;
  }
  return false;
}

Json stats_json(const data::LengthStats& s) {
  return {{"min", s.min}, {"mean", s.mean}, {"p50", s.p50},
          {"p90", s.p90}, {"p99", s.p99},   {"max", s.max}};
}

Json report_json(const data::DataReport& report) {
  Json labels = Json::object();
  for (const auto& [column, counts] : report.labels) labels[column] = counts;
  return {{"name", report.name},
          {"rows", report.rows},
          {"filtered", report.filtered},
          {"bad_rows", report.bad_rows},
          {"duplicates", report.duplicates},
          {"problems", report.problems},
          {"turns", stats_json(report.turns)},
          {"characters", stats_json(report.characters)},
          {"labels", labels}};
}

void print(const data::DataReport& report) {
  std::cout << fmt::format("{}: {} rows, {} left out by the filter, {} duplicates, {} bad\n",
                           report.name, report.rows, report.filtered, report.duplicates,
                           report.bad_rows);
  std::cout << fmt::format("  characters  min {}  median {}  p99 {}  max {}\n",
                           report.characters.min, report.characters.p50, report.characters.p99,
                           report.characters.max);
  for (const auto& [column, counts] : report.labels) {
    std::string text;
    for (const auto& [label, count] : counts) text += fmt::format("  {} {}", label, count);
    std::cout << fmt::format("  {}:{}\n", column, text);
  }
  for (const std::string& problem : report.problems) std::cout << "  " << problem << "\n";
}

int check_data(const DataOptions& options) {
  const RunConfig config = load_run_config(options.config, options.overrides);
  if (config.datasets.empty()) throw ConfigError(options.config + ": datasets: got none, want one");
  std::int64_t bad = 0;
  Json all = Json::array();
  for (const auto& [name, dataset] : config.datasets) {
    const data::DataReport report = data::check_dataset(name, dataset, is_learned(config, name));
    if (!report.ok()) bad += std::max<std::int64_t>(1, report.bad_rows);
    if (options.json)
      all.push_back(report_json(report));
    else
      print(report);
  }
  if (options.json) std::cout << all.dump(2) << "\n";
  if (bad > 0) throw DataError(fmt::format("{}: got {} bad rows, want none", options.config, bad));
  return 0;
}

}  // namespace

void add_data(Command limbic) {
  Command data = limbic.add("data", "look at data");
  data.as_group();
  data.example("limbic data check configs/quickstart.yaml");
  Command command = data.add("check", "read every row, report bad ones, lengths, labels");
  auto options = std::make_shared<DataOptions>();
  command.option("config", options->config, "experiment file").required();
  command.option("overrides", options->overrides, "section.key=value");
  command.flag("--json", options->json, "print the report as JSON");
  command.example("limbic data check configs/quickstart.yaml");
  command.runs([options] { return check_data(*options); });
}

}  // namespace limbic::launch

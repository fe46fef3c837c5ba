#include "launch/run/run_folder.h"

#include <filesystem>

#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/base/log.h"
#include "trainer/parallel/collectives.h"

namespace limbic::launch {
namespace {

namespace fs = std::filesystem;

Json to_json(const StageRecord& r) {
  return {{"name", r.name},
          {"type", r.type},
          {"steps", r.steps},
          {"wall_seconds", r.wall_seconds},
          {"tokens", r.tokens},
          {"peak_rss_mb", r.peak_rss_mb},
          {"metrics", r.metrics},
          {"lineage", r.lineage},
          {"peak_gpu_mb", r.peak_gpu_mb}};
}

StageRecord record_of(const Json& j) {
  return {.name = j.at("name"),
          .type = j.at("type"),
          .steps = j.at("steps"),
          .wall_seconds = j.at("wall_seconds"),
          .tokens = j.at("tokens"),
          .peak_rss_mb = j.at("peak_rss_mb"),
          .peak_gpu_mb = j.value("peak_gpu_mb", std::int64_t{0}),
          .metrics = j.at("metrics"),
          .lineage = j.at("lineage")};
}

// One entry of a file that a run left, as T. The file is damaged when it has no such entry.
template <class T>
T read_entry(const std::string& path, const char* key) {
  try {
    return Json::parse(read_file(path)).at(key).get<T>();
  } catch (const Json::exception&) {
    throw DataError(fmt::format(
        "{}: got no valid '{}', want what an earlier run wrote; start anew with --overwrite", path,
        key));
  }
}

std::vector<StageRecord> read_records(const std::string& path) {
  std::vector<StageRecord> records;
  try {
    for (const Json& record : read_entry<std::vector<Json>>(path, "stages")) {
      records.push_back(record_of(record));
    }
  } catch (const Json::exception&) {
    throw DataError(path +
                    ": got a damaged record of a stage, want what an earlier run wrote; "
                    "start anew with --overwrite");
  }
  return records;
}

// "learning_rate: was 1e-4, is 2e-4"
std::vector<std::string> differences(const Settings& before, const Settings& now) {
  std::vector<std::string> out;
  for (const auto& [path, value] : now) {
    const auto old = before.find(path);
    if (old == before.end()) {
      out.push_back(fmt::format("{}: was not set, is {}", path, value));
    } else if (old->second != value) {
      out.push_back(fmt::format("{}: was {}, is {}", path, old->second, value));
    }
  }
  for (const auto& [path, value] : before) {
    if (now.count(path) == 0) out.push_back(fmt::format("{}: was {}, is not set", path, value));
  }
  return out;
}

}  // namespace

RunFolder::RunFolder(parallel::Communicator& communicator, const RunConfig& config,
                     const Options& options)
    : communicator_(communicator),
      path_(config.output()),
      settings_(numeric_settings(config, communicator.size())) {
  parallel::together(communicator_, [&] {
    if (communicator_.rank() == 0) take_up(config, options);
  });
  Json records = Json::array();
  for (const StageRecord& record : finished_) records.push_back(to_json(record));
  finished_.clear();
  for (const Json& record : Json::parse(parallel::broadcast_text(communicator_, records.dump()))) {
    finished_.push_back(record_of(record));
  }
}

void RunFolder::take_up(const RunConfig& config, const Options& options) {
  const std::string settings_file = path_ + "/run.json";
  try {
    if (options.overwrite && fs::exists(settings_file)) set_aside();
    fs::create_directories(path_);
  } catch (const fs::filesystem_error& error) {
    throw DataError(fmt::format("{}: got {}, want a folder that can be written", path_,
                                error.code().message()));
  }
  if (fs::exists(settings_file)) {
    const Settings before = read_entry<Settings>(settings_file, "settings");
    const std::vector<std::string> changed = differences(before, settings_);
    if (!changed.empty() && !options.allow_change) {
      throw ConfigError(fmt::format(
          "{}: got a folder that holds another run, want the same settings ({}{}); take another "
          "run.output, --allow-change to go on, or --overwrite to start anew",
          path_,
          fmt::join(changed.begin(),
                    changed.begin() +
                        static_cast<std::ptrdiff_t>(std::min<std::size_t>(changed.size(), 5)),
                    "; "),
          changed.size() > 5 ? fmt::format("; and {} more", changed.size() - 5) : ""));
    }
    for (const std::string& change : changed) spdlog::warn("changed: {}", change);
  } else if (!fs::is_empty(path_)) {
    throw ConfigError(fmt::format(
        "{}: got a folder with other files and no run, want an empty or new one", path_));
  } else {
    fresh_ = true;
  }
  if (fs::exists(path_ + "/summary.json")) {
    finished_ = read_records(path_ + "/summary.json");
  }
  write_file_atomically(settings_file, Json{{"settings", settings_}}.dump(2) + "\n");
  write_file_atomically(path_ + "/config.resolved.yaml",
                        resolved_config(config, communicator_.size()));
}

// What an earlier overwriting run has set aside is older and stays; its own start goes.
void RunFolder::set_aside() const {
  if (fs::exists(replaced_folder())) {
    fs::remove_all(path_);
  } else {
    fs::rename(path_, replaced_folder());
  }
}

const StageRecord* RunFolder::find(const std::string& stage) const {
  for (const StageRecord& record : finished_) {
    if (record.name == stage) return &record;
  }
  return nullptr;
}

void RunFolder::begin(const std::string& stage) {
  parallel::together(communicator_, [&] {
    if (communicator_.rank() != 0) return;
    std::error_code error;
    fs::remove_all(unfinished_folder(stage), error);
    fs::create_directories(unfinished_folder(stage), error);
    begun_ = stage;
    if (error) {
      throw DataError(fmt::format("{}: got {}, want a folder that can be written",
                                  unfinished_folder(stage), error.message()));
    }
  });
}

void RunFolder::undo() {
  if (!fresh_ || communicator_.rank() != 0) return;
  std::error_code ignored;
  const auto log_size = fs::file_size(path_ + "/metrics.jsonl", ignored);
  const bool trained = (!ignored && log_size > 0) || fs::exists(path_ + "/checkpoints", ignored) ||
                       fs::exists(path_ + "/summary.json", ignored);
  if (trained) return;
  if (!begun_.empty()) fs::remove_all(unfinished_folder(begun_), ignored);
  for (const char* name :
       {"run.json", "config.resolved.yaml", "metrics.jsonl", "completions.jsonl"}) {
    fs::remove(path_ + "/" + name, ignored);
  }
  fs::remove(path_, ignored);  // unless others have put something into it
  if (!fs::exists(path_, ignored) && fs::exists(replaced_folder(), ignored)) {
    fs::rename(replaced_folder(), path_, ignored);
  }
}

void RunFolder::finish(const StageRecord& record) {
  finished_.push_back(record);
  parallel::together(communicator_, [&] {
    if (communicator_.rank() != 0) return;
    fs::remove_all(stage_folder(record.name));
    fs::rename(unfinished_folder(record.name), stage_folder(record.name));
    write_summary();
    fs::remove_all(replaced_folder());
  });
}

void RunFolder::write_summary() const {
  Json stages = Json::array();
  double seconds = 0.0;
  for (const StageRecord& record : finished_) {
    stages.push_back(to_json(record));
    seconds += record.wall_seconds;
  }
  write_file_atomically(path_ + "/summary.json",
                        Json{{"stages", stages}, {"wall_seconds", seconds}}.dump(2) + "\n");
}

void RunFolder::link_final(const std::string& stage) {
  if (communicator_.rank() != 0) return;
  const std::string link = path_ + "/final";
  const std::string aside = link + ".new";
  std::error_code ignored;
  fs::remove(aside, ignored);
  fs::create_directory_symlink(stage, aside);
  fs::rename(aside, link);
}

}  // namespace limbic::launch

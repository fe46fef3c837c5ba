#include "trainer/checkpoint/checkpoint.h"

#include <filesystem>

#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/base/log.h"
#include "trainer/checkpoint/step_folder.h"
#include "trainer/parallel/collectives.h"
#include "trainer/tensor/safetensors.h"

namespace limbic::checkpoint {
namespace {

namespace fs = std::filesystem;

// Later steps than the one just saved are of a history that the run left: they were damaged, or it
// was told to continue from an earlier step. A resume must not go back to them.
void remove_others(const std::string& folder, std::int64_t saved, std::int64_t keep) {
  std::int64_t kept = 0;
  for (const auto& [step, path] : steps_below(folder)) {
    if (step <= saved && kept++ < std::max<std::int64_t>(1, keep)) continue;
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
}

// The newest sound step folder, empty when there is no checkpoint at all.
std::string newest_sound(const std::string& folder) {
  const auto steps = steps_below(folder);
  for (const auto& [step, path] : steps) {
    try {
      check_files(path, read_manifest(path));
      return path;
    } catch (const DataError& error) {
      spdlog::warn("checkpoint passed over: {}", error.what());
    }
  }
  if (steps.empty()) return "";
  throw DataError(
      fmt::format("{}: got {} checkpoints, all damaged, want a sound one; --resume never "
                  "begins the stage again",
                  folder, steps.size()));
}

}  // namespace

void save_replicated(parallel::Communicator& communicator, const std::string& folder,
                     std::int64_t step, const CheckpointContent& content, const Json& info,
                     std::int64_t keep) {
  parallel::together(communicator, [&] {
    if (communicator.rank() != 0) return;
    write_step(folder, step, content, info);
    remove_others(folder, step, keep);
  });
}

LoadedCheckpoint load(const std::string& step_folder) {
  const Json manifest = read_manifest(step_folder);
  check_files(step_folder, manifest);
  LoadedCheckpoint out;
  out.step = manifest["step"].get<std::int64_t>();
  out.info = manifest["info"];
  out.folder = step_folder;
  out.state = Json::parse(read_file(step_folder + "/state.json"));
  const SafetensorsFile file = SafetensorsFile::open(step_folder + "/state.safetensors");
  for (const std::string& name : file.names()) out.tensors.push_back({name, file.tensor(name)});
  return out;
}

std::optional<LoadedCheckpoint> load_latest(parallel::Communicator& communicator,
                                            const std::string& folder) {
  std::string chosen;
  parallel::together(communicator, [&] {
    if (communicator.rank() == 0) chosen = newest_sound(folder);
  });
  chosen = parallel::broadcast_text(communicator, chosen);
  if (chosen.empty()) return std::nullopt;
  std::optional<LoadedCheckpoint> loaded;
  parallel::together(communicator, [&] { loaded = load(chosen); });
  return loaded;
}

std::vector<Verdict> verify(const std::string& folder) {
  if (!fs::is_directory(folder)) {
    throw DataError(folder + ": got no such folder, want a step, a stage or a run folder");
  }
  std::vector<std::pair<std::int64_t, std::string>> steps;
  if (const auto only = step_of_folder(folder); only || fs::exists(folder + "/MANIFEST.json")) {
    steps.emplace_back(only.value_or(0), folder);
  } else {
    steps = steps_below(folder);
    const std::string stages =
        fs::is_directory(folder + "/checkpoints") ? folder + "/checkpoints" : folder;
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(stages)) {
      if (entry.is_directory()) names.push_back(entry.path().string());
    }
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      for (auto& step : steps_below(name)) steps.push_back(std::move(step));
    }
  }
  std::vector<Verdict> verdicts;
  for (const auto& [step, path] : steps) {
    Verdict verdict{.folder = path, .step = step, .problem = ""};
    try {
      const Json manifest = read_manifest(path);
      verdict.step = manifest["step"].get<std::int64_t>();
      check_files(path, manifest);
    } catch (const Error& error) {
      verdict.problem = error.what();
    }
    verdicts.push_back(std::move(verdict));
  }
  return verdicts;
}

}  // namespace limbic::checkpoint

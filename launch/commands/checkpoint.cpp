// `limbic checkpoint list|verify|show`: what lies in a run's checkpoints.
#include "trainer/checkpoint/checkpoint.h"

#include <filesystem>
#include <iostream>

#include "launch/commands/commands.h"
#include "trainer/base/error.h"
#include "trainer/base/json_file.h"

namespace limbic::launch {
namespace {

int list(const std::string& folder) {
  for (const auto& verdict : checkpoint::verify(folder)) {
    std::cout << fmt::format("{}{}\n", verdict.folder,
                             verdict.problem.empty() ? "" : "  damaged: " + verdict.problem);
  }
  return 0;
}

int verify(const std::string& folder) {
  const auto verdicts = checkpoint::verify(folder);
  if (verdicts.empty()) throw DataError(folder + ": got no checkpoint, want at least one");
  std::int64_t damaged = 0;
  for (const auto& verdict : verdicts) {
    std::cout << fmt::format("{}: {}\n", verdict.folder,
                             verdict.problem.empty() ? "ok" : verdict.problem);
    if (!verdict.problem.empty()) ++damaged;
  }
  if (damaged > 0) {
    throw DataError(fmt::format("{}: got {} damaged of {} checkpoints, want none", folder, damaged,
                                verdicts.size()));
  }
  return 0;
}

int show(const std::string& folder) {
  if (!std::filesystem::exists(folder + "/MANIFEST.json")) {
    throw DataError(
        folder + ": got no MANIFEST.json, want a step folder; limbic checkpoint list names them");
  }
  const checkpoint::LoadedCheckpoint loaded = checkpoint::load(folder);
  Json tensors = Json::object();
  for (const auto& tensor : loaded.tensors) tensors[tensor.name] = tensor.tensor.sizes().vec();
  Json shown = read_json_object(folder + "/MANIFEST.json");
  shown["tensors"] = tensors;
  shown["state"] = loaded.state;
  std::cout << shown.dump(2) << "\n";
  return 0;
}

}  // namespace

void add_checkpoint(Command limbic) {
  Command group = limbic.add("checkpoint", "look at checkpoints");
  group.as_group();
  const std::string quickstart = "runs/quickstart";
  group.example("limbic checkpoint list " + quickstart);
  const auto add = [&](const std::string& name, const char* help, const char* what,
                       const std::string& example, int (*run)(const std::string&)) {
    Command command = group.add(name, help);
    auto folder = std::make_shared<std::string>();
    command.option("folder", *folder, what).required();
    command.example("limbic checkpoint " + name + " " + example);
    command.runs([folder, run] { return run(*folder); });
  };
  const char* any = "a step, a stage or a run folder";
  add("list", "every checkpoint below a folder", any, quickstart, list);
  add("verify", "check every hash", any, quickstart, verify);
  add("show", "manifest and state of a checkpoint", "a step folder",
      quickstart + "/checkpoints/sft/step-00000066", show);
}

}  // namespace limbic::launch

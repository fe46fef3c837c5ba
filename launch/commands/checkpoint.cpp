// `limbic checkpoint list|verify|show`: what lies in a run's checkpoints.
#include "trainer/checkpoint/checkpoint.h"

#include <iostream>

#include "launch/commands/commands.h"
#include "trainer/base/error.h"

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
  const checkpoint::LoadedCheckpoint loaded = checkpoint::load(folder);
  Json tensors = Json::object();
  for (const auto& tensor : loaded.tensors) tensors[tensor.name] = tensor.tensor.sizes().vec();
  std::cout << Json{{"step", loaded.step},
                    {"info", loaded.info},
                    {"tensors", tensors},
                    {"state", loaded.state}}
                   .dump(2)
            << "\n";
  return 0;
}

}  // namespace

void add_checkpoint(CLI::App& app, Chosen chosen) {
  auto* group = app.add_subcommand("checkpoint", "look at checkpoints");
  group->require_subcommand(1);
  const auto add = [&](const char* name, const char* help, int (*run)(const std::string&)) {
    auto* command = group->add_subcommand(name, help);
    auto folder = std::make_shared<std::string>();
    command->add_option("folder", *folder, "a step, a stage or a run folder")->required();
    add_example(*command, std::string("limbic checkpoint ") + name + " runs/quickstart");
    command->callback([=, &chosen] { chosen = [folder, run] { return run(*folder); }; });
  };
  add("list", "every checkpoint below a folder", list);
  add("verify", "check every hash", verify);
  add("show", "manifest and state of one step folder", show);
}

}  // namespace limbic::launch

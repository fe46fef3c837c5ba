// `limbic serve`: a reward worker.
#include <iostream>
#include <thread>

#include "launch/commands/commands.h"
#include "launch/config/rewards_file.h"
#include "launch/run/signals.h"
#include "rewards/service/reward_service.h"
#include "trainer/base/log.h"

namespace limbic::launch {
namespace {

int serve(const std::string& path, const std::vector<std::string>& overrides) {
  block_stop_signals();
  RewardsFile file = load_rewards_file(path, overrides);
  // An experiment file may name its workers beside the graph that they serve.
  if (file.rewards.graph) file.rewards.remote.workers.clear();
  const auto scorer = file.make_scorer();
  std::unique_ptr<rewards::RewardServer> server;
  file.source->in_place(
      [&] { server = std::make_unique<rewards::RewardServer>(file.serve, scorer); });
  spdlog::info("serving on {}", server->address());
  wait_for_stop_signal();
  server->shutdown();
  return 0;
}

}  // namespace

void add_serve(Command limbic) {
  Command command = limbic.add("serve", "answer reward requests over gRPC");
  auto path = std::make_shared<std::string>();
  auto overrides = std::make_shared<std::vector<std::string>>();
  command.option("config", *path, "any file with a rewards section").required();
  command.option("overrides", *overrides, "section.key=value");
  command.example("limbic serve configs/quickstart_rewards.yaml serve.address=127.0.0.1:50051");
  command.runs([path, overrides] { return serve(*path, *overrides); });
}

}  // namespace limbic::launch

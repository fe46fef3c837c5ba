#include "launch/run/exchange.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/run/world.h"
#include "tests/support/temp_folder.h"
#include "tests/unit/parallel/ranks.h"
#include "trainer/base/error.h"
#include "trainer/device/gpu.h"

namespace limbic::launch {
namespace {

using test::message_of;
using testing::HasSubstr;

TEST(Exchange, RanksWithAGpuEachHaveNoObstacle) {
  EXPECT_EQ(obstacle({{"machine a, 0000:1b:00", ""}, {"machine b, 0000:1b:00", ""}}), "");
  EXPECT_EQ(obstacle({{"machine a, 0000:1b:00", ""}}), "");
}

TEST(Exchange, WhatTheFirstRankLacksIsNamed) {
  EXPECT_EQ(obstacle({{"a", ""}, {"b", ""}, {"a", ""}}), "ranks 0 and 2 share a GPU");
  EXPECT_EQ(obstacle({{"a", ""}, {"", "computes on the CPU"}, {"a", ""}}),
            "rank 1 computes on the CPU");
  EXPECT_EQ(obstacle({{"a", ""}, {"b", "has no NCCL: x.so: got no 'ncclAllReduce', want NCCL"}}),
            "rank 1 has no NCCL: x.so: got no 'ncclAllReduce', want NCCL");
}

RunConfig config_of(Backend backend, Device device) {
  RunConfig config;
  config.parallel.backend = backend;
  config.run.device = device;
  return config;
}

TEST(Exchange, RanksOnTheCpuHaveNothingToExchangeByNccl) {
  parallel::run_ranks(2, [](parallel::Communicator& c) {
    for (const Backend backend : {Backend::kAuto, Backend::kMpi}) {
      EXPECT_EQ(open_exchange(c, config_of(backend, Device::kCpu), Place{}), nullptr);
    }
  });
}

TEST(Exchange, NcclWithoutGpusSaysWhatIsMissingOnEveryRank) {
  const auto refusal = [](Device device) {
    std::vector<std::string> messages(2);
    parallel::run_ranks(2, [&](parallel::Communicator& c) {
      messages[static_cast<std::size_t>(c.rank())] = message_of<ConfigError>(
          [&] { open_exchange(c, config_of(Backend::kNccl, device), Place{}); });
    });
    EXPECT_EQ(messages[0], messages[1]);
    return messages[0];
  };
  const std::string wanted =
      "parallel.backend: got nccl, want a GPU of its own and NCCL for every rank; rank 0 computes "
      "on the CPU";
  EXPECT_EQ(refusal(Device::kCpu), wanted + " (run.device: cpu)");
  const device::GpuReport gpus = device::find_gpus();
  if (gpus.devices > 0) GTEST_SKIP() << "this machine has a GPU";
  EXPECT_EQ(refusal(Device::kAuto), wanted + ": its machine has " + gpus.reason);
}

TEST(Exchange, NcclWantsRanksThatALauncherHasStarted) {
  World world;
  EXPECT_THAT(message_of<ConfigError>([&] {
                world.load_config(std::string(LIMBIC_SOURCE_DIR) + "/configs/tiny.yaml",
                                  {"parallel.backend=nccl"});
              }),
              HasSubstr("command line: parallel.backend: got nccl, want mpirun or srun"));
}

TEST(Exchange, CopiesHaveAsManyRanksAndSomethingToShare) {
  World world;
  const auto refusal = [&](const std::vector<std::string>& overrides) {
    return message_of<ConfigError>([&] {
      world.load_config(std::string(LIMBIC_SOURCE_DIR) + "/configs/tiny.yaml", overrides);
    });
  };
  EXPECT_THAT(refusal({"parallel.shard_ranks=3"}),
              HasSubstr("parallel.shard_ranks: got 3 with 1 ranks, want a divisor"));
  EXPECT_THAT(refusal({"parallel.shard_ranks=1", "parallel.zero_stage=0"}),
              HasSubstr("parallel.shard_ranks: got 1 with zero_stage 0"));
}

}  // namespace
}  // namespace limbic::launch

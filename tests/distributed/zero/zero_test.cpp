// 50 SFT and 10 GRPO steps are the same run for any number of ranks, zero_stage and transport;
// what ranks share instead of repeating changes no bit.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "launch/config/run_config.h"
#include "launch/run/pipeline.h"
#include "tests/support/workplace.h"
#include "tests/unit/parallel/ranks.h"
#include "trainer/base/file.h"

namespace limbic::test {
namespace {

constexpr double kTolerance = 1e-5;

struct Job {
  const char* name;
  std::size_t steps;
  const char* config;
  int rows;  // per step of all ranks
};

const Job kSft{"sft", 50,
               "stages:\n  - {name: s, type: sft, data: d, steps: 50, learning_rate: 3.0e-3, "
               "logging_steps: 1, save_steps: 0}\n",
               8};
const Job kGrpo{"grpo", 10,
                "rewards: {graph: {name: letter, type: regex, pattern: '[a-m]'}}\n"
                "stages:\n  - {name: s, type: grpo, data: d, steps: 10, num_generations: 4, "
                "max_completion_length: 6, learning_rate: 1.0e-3, beta: 0.02, logging_steps: 1, "
                "save_steps: 0}\n",
                16};

class Zero : public testing::TestWithParam<const Job*> {
 protected:
  Zero() {
    const Job& job = *GetParam();
    place_.write_rows("rows.jsonl", &job == &kSft ? chats(50) : prompts(10));
    place_.write_config(job.config);
  }

  void train(int ranks, int stage, const std::string& run,
             const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"train", place_.file("config.yaml"), "--quiet"};
    for (const std::string& one : overrides(ranks, stage, run)) arguments.push_back(one);
    arguments.insert(arguments.end(), more.begin(), more.end());
    if (ranks == 1) arguments.insert(arguments.begin(), limbic_binary());
    expect_ok(run_command(ranks == 1 ? arguments : mpirun(ranks, arguments)));
  }
  // The ranks as threads of this process.
  void train_threads(int ranks, int stage, const std::string& run) {
    const std::atomic<bool> stop = false;
    parallel::run_ranks(ranks, [&](parallel::Communicator& c) {
      at::set_num_threads(1);  // of this rank, as under mpirun
      const launch::RunConfig config =
          launch::load_run_config(place_.file("config.yaml"), overrides(ranks, stage, run));
      launch::PipelineOptions options;
      options.quiet = true;
      launch::run_pipeline(config, launch::choose_place(config.run), c, options, stop);
    });
  }
  std::vector<std::string> overrides(int ranks, int stage, const std::string& run) const {
    return {"run.output=" + place_.file(run), fmt::format("parallel.zero_stage={}", stage),
            fmt::format("stages.s.per_device_train_batch_size={}", GetParam()->rows / ranks)};
  }
  std::vector<double> losses(const std::string& run) { return place_.metric("loss", "s", run); }
  void expect_close(const std::vector<double>& got, const std::vector<double>& want,
                    const std::string& where) {
    ASSERT_EQ(got.size(), GetParam()->steps) << where;
    ASSERT_EQ(want.size(), got.size());
    // GRPO's losses pass through zero: they are differences of numbers of about this size.
    constexpr double kScale = 1e-2;
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_NEAR(got[i], want[i], kTolerance * std::max(kScale, std::abs(want[i])))
          << where << ", step " << i + 1;
    }
  }
  std::string weights(const std::string& run) {
    return read_file(place_.file(run) + "/s/model.safetensors");
  }

  Workplace place_;
};

TEST_P(Zero, StagesAreBitEqualAndWorldsAgreeUnderMpi) {
  for (const int ranks : {1, 2, 4}) {
    const auto name = [&](int stage) { return fmt::format("mpi-{}-{}", ranks, stage); };
    for (const int stage : {0, 1, 2, 3}) train(ranks, stage, name(stage));
    expect_close(losses(name(0)), losses("mpi-1-0"), fmt::format("{} ranks", ranks));
    for (const int stage : {1, 2, 3}) {
      EXPECT_EQ(losses(name(stage)), losses(name(0))) << name(stage);
      EXPECT_TRUE(weights(name(stage)) == weights(name(0))) << name(stage) << ": other weights";
    }
  }
}

TEST_P(Zero, ThreadsComputeTheBitsOfProcesses) {
  train(1, 0, "one");
  for (const int ranks : {2, 4}) {
    train(ranks, 1, fmt::format("mpi-{}", ranks));
    for (const int stage : {0, 1, 2, 3}) {
      const auto name = fmt::format("threads-{}-{}", ranks, stage);
      train_threads(ranks, stage, name);
      expect_close(losses(name), losses("one"), name);
      EXPECT_TRUE(weights(name) == weights(fmt::format("mpi-{}", ranks))) << name;
    }
  }
}

TEST_P(Zero, GroupsOfRanksMayHoldCopies) {
  train(1, 0, "one");
  for (const int stage : {1, 2, 3}) {
    const auto name = fmt::format("groups-{}", stage);
    train(4, stage, name, {"parallel.shard_ranks=2"});
    expect_close(losses(name), losses("one"), name);
    EXPECT_TRUE(weights(name) == weights("groups-1")) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Jobs, Zero, testing::Values(&kSft, &kGrpo),
                         [](const auto& job) { return std::string(job.param->name); });

}  // namespace
}  // namespace limbic::test

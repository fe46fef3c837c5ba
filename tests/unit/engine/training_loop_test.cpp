#include "trainer/engine/training_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <set>
#include <sstream>

#include "tests/support/test_run.h"
#include "trainer/base/file.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/step_folder.h"

namespace limbic::engine {
namespace {

using test::message_of;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::int64_t kSteps = 9;

TrainConfig config_of(std::int64_t save_steps) {
  TrainConfig config;
  config.schedule.learning_rate = 1e-2;
  config.max_grad_norm = 0.0;
  config.save_steps = save_steps;
  config.save_total_limit = 100;
  config.logging_steps = 2;
  return config;
}

// Every step's loss is a function of the weights, the step and a number that only the checkpoint
// remembers.
class CountingSource final : public StepSource {
 public:
  explicit CountingSource(TestRun& run) : run_(run) {}

  StepReport run_step(std::int64_t step, double rate, TrainEngine& engine) override {
    steps.push_back(step);
    if (step == lost_at) throw RemoteError("no reward worker answers");
    memory_ += step;
    StepReport report;
    run_.decoder.end_passes();  // the loss reads leaves outside of passes
    report.result = engine.step(
        1,
        [&](std::size_t) {
          at::Tensor loss = at::zeros({});
          for (const auto& leaf : run_.decoder.trained_leaves()) {
            loss = loss + leaf.tensor.pow(2).sum() * (0.5 + 0.01 * static_cast<double>(memory_));
          }
          if (broken.contains(step)) loss = loss * std::numeric_limits<float>::infinity();
          return loss / run_.context.communicator.size();
        },
        rate);
    report.tokens = 10;
    report.headline = report.result.loss;
    report.metrics = {{"memory", memory_}};
    if (step == stop_after) run_.stop_requested = true;
    return report;
  }
  Json state() const override { return {{"memory", memory_}}; }
  void load_state(const Json& state) override { memory_ = state.at("memory").get<std::int64_t>(); }
  bool at_boundary(std::int64_t step) const override { return step % boundary == 0; }
  const char* headline_name() const override { return "loss"; }

  std::vector<std::int64_t> steps;  // that ran
  std::int64_t lost_at = -1, stop_after = -1;
  std::set<std::int64_t> broken;  // whose loss is not finite
  std::int64_t boundary = 1;

 private:
  TestRun& run_;
  std::int64_t memory_ = 100;
};

// Everything in metrics.jsonl that does not depend on the clock.
std::vector<Json> lines_of(const std::string& run_folder) {
  std::vector<Json> lines;
  std::istringstream text(read_file(run_folder + "/metrics.jsonl"));
  for (std::string line; std::getline(text, line);) {
    lines.push_back(Json::parse(line));
    lines.back().erase("time");
    for (const char* key : {"step_time", "exchange_time", "peak_rss_mb"}) lines.back().erase(key);
  }
  return lines;
}

class TrainingLoop : public testing::Test {
 protected:
  struct Outcome {
    StageResult result;
    std::vector<std::int64_t> steps;
    std::vector<at::Tensor> weights;
    std::exception_ptr error;
  };
  // One process's life on this folder. Returns what rank 0 saw.
  Outcome live(const std::string& folder, int ranks, const TrainConfig& config,
               const std::function<void(TestRun&, CountingSource&)>& prepare = {}) {
    Outcome outcome;
    parallel::run_ranks(ranks, [&](parallel::Communicator& c) {
      TestRun run(c, folder_.file(folder));
      CountingSource source(run);
      if (prepare) prepare(run, source);
      Outcome mine;
      try {
        mine.result = run_training(run.context, config, kSteps, source);
      } catch (...) {
        mine.error = std::current_exception();
      }
      mine.steps = source.steps;
      for (const auto& leaf : run.decoder.trained_leaves()) {
        mine.weights.push_back(leaf.tensor.detach().clone());
      }
      if (c.rank() == 0) outcome = std::move(mine);
    });
    return outcome;
  }
  static bool same_weights(const Outcome& a, const Outcome& b) {
    for (std::size_t i = 0; i < a.weights.size(); ++i) {
      if (!at::equal(a.weights[i], b.weights[i])) return false;
    }
    return true;
  }
  std::vector<std::int64_t> saved(const std::string& folder) const {
    std::vector<std::int64_t> steps;
    for (const auto& [step, path] :
         checkpoint::steps_below(folder_.file(folder) + "/checkpoints/stage")) {
      steps.insert(steps.begin(), step);
    }
    return steps;
  }

  test::TempFolder folder_;
};

TEST_F(TrainingLoop, StepsThatAreNotFiniteAreCounted) {
  TrainConfig config = config_of(0);
  config.max_skipped_steps = 2;
  const auto breaking = [](std::set<std::int64_t> steps) {
    return [steps](TestRun&, CountingSource& source) { source.broken = steps; };
  };
  const Outcome some = live("some", 2, config, breaking({1, 3, 4, 6}));
  EXPECT_FALSE(some.error);
  const std::vector<Json> lines = lines_of(folder_.file("some"));
  EXPECT_EQ(lines.back().at("skipped_steps"), 4);
  EXPECT_EQ(lines.front().at("skipped_steps"), 1);
  for (const at::Tensor& weight : some.weights) EXPECT_TRUE(weight.isfinite().all().item<bool>());
  EXPECT_EQ(
      parallel::message_of_outcome<DataError>(live("many", 2, config, breaking({3, 4, 5})).error),
      "stage: step 6: got loss inf and gradient norm inf, want finite numbers; lower the "
      "learning rate or look at the data");
  EXPECT_THAT(saved("many"), ElementsAre());
}

// The optimizer has done fewer steps than the loop.
TEST_F(TrainingLoop, ResumesBehindSkippedStepsBitForBit) {
  const auto breaking = [](TestRun&, CountingSource& source) { source.broken = {1, 2}; };
  const Outcome whole = live("whole", 1, config_of(1), breaking);
  const Outcome half = live("cut", 1, config_of(1), [&](TestRun& run, CountingSource& source) {
    breaking(run, source);
    source.stop_after = 4;
  });
  EXPECT_TRUE(half.error);
  const Outcome rest = live("cut", 1, config_of(1), breaking);
  EXPECT_THAT(rest.steps, ElementsAre(5, 6, 7, 8));
  EXPECT_TRUE(same_weights(rest, whole));
  EXPECT_EQ(lines_of(folder_.file("cut")).back(), lines_of(folder_.file("whole")).back());
}

TEST_F(TrainingLoop, RunsEveryStepOnceAndLogs) {
  const Outcome outcome = live("run", 1, config_of(0));
  EXPECT_FALSE(outcome.error);
  EXPECT_THAT(outcome.steps, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8));
  EXPECT_EQ(outcome.result.steps, kSteps);
  EXPECT_EQ(outcome.result.tokens, 10 * kSteps);
  const auto lines = lines_of(folder_.file("run"));
  std::vector<std::int64_t> logged;
  for (const Json& line : lines) {
    EXPECT_EQ(line["stage"], "stage");
    EXPECT_EQ(line["num_tokens"], 10 * line["step"].get<std::int64_t>());
    for (const char* key : {"loss", "grad_norm", "learning_rate", "memory"}) {
      EXPECT_TRUE(line[key].is_number()) << key;
    }
    logged.push_back(line["step"].get<std::int64_t>());
  }
  EXPECT_THAT(logged, ElementsAre(2, 4, 6, 8, 9));  // every second and the last
  EXPECT_EQ(lines[0]["learning_rate"],
            optim::learning_rate(config_of(0).schedule, 1, kSteps));  // of the step itself
}

TEST_F(TrainingLoop, SavesEverySoManySteps) {
  live("run", 1, config_of(4));
  EXPECT_THAT(saved("run"), ElementsAre(4, 8, 9));
  live("never", 1, config_of(0));
  EXPECT_THAT(saved("never"), ElementsAre(9));
}

// Killed after the last step and before its result was written: no step runs again.
TEST_F(TrainingLoop, TheLastStepIsSaved) {
  const Outcome whole = live("run", 1, config_of(4));
  const Outcome again = live("run", 1, config_of(4));
  EXPECT_THAT(again.steps, ElementsAre());
  EXPECT_TRUE(same_weights(again, whole));
  EXPECT_EQ(again.result.metrics, whole.result.metrics);
}

TEST_F(TrainingLoop, SavesWaitForTheBoundary) {
  live("run", 1, config_of(2), [](TestRun&, CountingSource& source) { source.boundary = 3; });
  EXPECT_THAT(saved("run"), ElementsAre(3, 6, 9));
}

TEST_F(TrainingLoop, AStopRequestSavesAndTheNextRunGoesOn) {
  for (const int ranks : {1, 2}) {
    const std::string name = std::to_string(ranks);
    const Outcome whole = live("whole" + name, ranks, config_of(0));
    // Only one rank gets the signal.
    const Outcome first =
        live("run" + name, ranks, config_of(0), [&](TestRun& run, CountingSource& source) {
          if (run.context.communicator.rank() == ranks - 1) source.stop_after = 3;
        });
    EXPECT_THAT(parallel::message_of_outcome<Interrupted>(first.error),
                HasSubstr("stage: stopped after step 4 of 9"));
    EXPECT_THAT(saved("run" + name), ElementsAre(4));
    const Outcome second = live("run" + name, ranks, config_of(0));
    EXPECT_THAT(second.steps, ElementsAre(4, 5, 6, 7, 8));
    EXPECT_EQ(second.result.tokens, whole.result.tokens);
    EXPECT_TRUE(same_weights(second, whole));
    EXPECT_EQ(lines_of(folder_.file("run" + name)), lines_of(folder_.file("whole" + name)));
  }
}

// Killed between checkpoints: the steps after the last one run again, and their lines of the log
// are written anew.
TEST_F(TrainingLoop, AKilledRunEndsAsAnUndisturbedOne) {
  const Outcome whole = live("whole", 1, config_of(3));
  live("run", 1, config_of(3), [](TestRun&, CountingSource& source) { source.lost_at = 8; });
  std::filesystem::remove_all(folder_.file("run/checkpoints/stage/step-00000008"));
  std::filesystem::resize_file(folder_.file("run/checkpoints/stage/step-00000006/state.json"), 5);
  const Outcome again = live("run", 2, config_of(3));
  EXPECT_THAT(again.steps, ElementsAre(3, 4, 5, 6, 7, 8));
  EXPECT_THAT(saved("run"), ElementsAre(3, 6, 9));
  ASSERT_EQ(again.weights.size(), whole.weights.size());
  for (std::size_t i = 0; i < whole.weights.size(); ++i) {
    EXPECT_TRUE(at::allclose(again.weights[i], whole.weights[i], 1e-5, 1e-6));
  }
  std::set<std::int64_t> steps;
  for (const Json& line : lines_of(folder_.file("run"))) {
    EXPECT_TRUE(steps.insert(line["step"].get<std::int64_t>()).second) << line;
  }
  EXPECT_THAT(steps, ElementsAre(2, 4, 6, 8, 9));
}

TEST_F(TrainingLoop, ALostServiceSavesWhatIsDone) {
  const Outcome whole = live("whole", 1, config_of(0));
  const Outcome first =
      live("run", 1, config_of(0), [](TestRun&, CountingSource& source) { source.lost_at = 5; });
  EXPECT_EQ(parallel::message_of_outcome<RemoteError>(first.error), "no reward worker answers");
  EXPECT_THAT(saved("run"), ElementsAre(5));
  EXPECT_TRUE(same_weights(live("run", 1, config_of(0)), whole));
}

TEST_F(TrainingLoop, NothingIsSavedBeforeTheFirstStep) {
  live("run", 1, config_of(0), [](TestRun& run, CountingSource&) { run.stop_requested = true; });
  EXPECT_THAT(saved("run"), ElementsAre());
}

TEST_F(TrainingLoop, ResumesFromTheFolderItIsTold) {
  const Outcome whole = live("run", 1, config_of(2));
  EXPECT_THAT(saved("run"), ElementsAre(2, 4, 6, 8, 9));
  const Outcome again = live("other", 1, config_of(0), [&](TestRun& run, CountingSource&) {
    run.context.resume_from = folder_.file("run/checkpoints/stage/step-00000004");
  });
  EXPECT_THAT(again.steps, ElementsAre(4, 5, 6, 7, 8));
  EXPECT_TRUE(same_weights(again, whole));
  const Outcome missing = live("other", 2, config_of(0), [&](TestRun& run, CountingSource&) {
    run.context.resume_from = folder_.file("run/checkpoints/stage/step-00000005");
  });
  EXPECT_THAT(parallel::message_of_outcome<DataError>(missing.error), HasSubstr("step-00000005"));
}

TEST_F(TrainingLoop, BeginsAnewWhenItIsTold) {
  live("run", 1, config_of(2));
  const Outcome again = live("run", 1, config_of(4),
                             [](TestRun& run, CountingSource&) { run.context.resume = false; });
  EXPECT_EQ(again.steps.size(), static_cast<std::size_t>(kSteps));
  EXPECT_EQ(lines_of(folder_.file("run")).size(), 5u);
}

}  // namespace
}  // namespace limbic::engine

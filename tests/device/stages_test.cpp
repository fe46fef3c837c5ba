// Whole stages on a device: data, difficulty, rollouts, losses, metrics and checkpoints.
#include <gtest/gtest.h>

#include "rl/dpo/dpo_stage.h"
#include "rl/grpo/grpo_stage.h"
#include "tests/device/on_devices.h"
#include "tests/support/test_run.h"
#include "trainer/base/yaml_config.h"
#include "trainer/sft/sft_stage.h"

namespace limbic {
namespace {

class DeviceStages : public OnDevices {
 protected:
  // What the stage gives on the kernels, then on the device.
  template <class Stage>
  void compare(Stage stage) {
    test::TempFolder folder;
    const auto local = parallel::make_staged(parallel::make_local());
    const Json config = configs()[0];
    engine::TestRun by_cpu(*local, folder.file("kernels"),
                           by_kernels(model::WeightUse::kTrained, config));
    engine::TestRun by_device(*local, folder.file("device"),
                              on_device(model::WeightUse::kTrained, config));
    const model::Decoder reference = by_kernels(model::WeightUse::kFrozen, config);
    const model::Decoder device_reference = on_device(model::WeightUse::kFrozen, config);
    const engine::StageResult want = stage(by_cpu, reference);
    const engine::StageResult got = stage(by_device, device_reference);
    EXPECT_EQ(got.tokens, want.tokens);
    for (const auto& [name, value] : want.metrics.items()) {
      if (name == "step_time" || name == "exchange_time" || name == "peak_rss_mb" ||
          !value.is_number())
        continue;
      const double wanted = value.template get<double>();
      ASSERT_TRUE(got.metrics.contains(name)) << name;
      EXPECT_NEAR(got.metrics[name].template get<double>(), wanted,
                  100 * tolerance() * std::max(1.0, std::abs(wanted)))
          << name;
    }
    EXPECT_GE(want.metrics.size(), 8u);
    const std::string step = "/checkpoints/stage/";
    EXPECT_TRUE(std::filesystem::exists(folder.file("device") + step));
  }
};
INSTANTIATE_TEST_SUITE_P(On, DeviceStages, ::testing::Values(Target::kCpuByAten, Target::kGpu),
                         name_of_target);

engine::TrainConfig training(std::int64_t steps) {
  engine::TrainConfig train;
  train.steps = steps;
  train.per_device_train_batch_size = 4;
  train.max_length = 40;
  train.schedule.learning_rate = 1e-3;
  train.adamw.adam_epsilon = 1e-2;  // Adam does not blow up the rounding of tiny gradients
  train.save_steps = 2;
  train.logging_steps = 1;
  return train;
}

const std::vector<std::string> kRows = {R"({"text": "abc"})",    R"({"text": "abcdefghijkl"})",
                                        R"({"text": "zz"})",     R"({"text": "hello"})",
                                        R"({"text": "aaaaaa"})", R"({"text": "quick brown fox"})"};

TEST_P(DeviceStages, SftByACurriculumOfLosses) {
  compare([](engine::TestRun& run, const model::Decoder&) {
    run.add_dataset("d", kRows);
    sft::SftConfig config;
    config.data = {"d"};
    config.curriculum = data::CurriculumConfig{.difficulty = "loss", .buckets = 2};
    config.label_smoothing_factor = 0.1;
    config.train = training(5);
    return sft::run_sft(run.context, config);
  });
}

// Two steps on each rollout, with a reference: old and reference log-probabilities take part.
TEST_P(DeviceStages, GrpoWithAReferenceAndTwoStepsPerRollout) {
  compare([](engine::TestRun& run, const model::Decoder& reference) {
    run.add_dataset("d", kRows);
    YamlDocument::parse("graph: {name: early, type: regex, pattern: '^[a-m]'}\n", "run.yaml")
        .read(run.rewards);
    rl::GrpoConfig config;
    config.data = {"d"};
    config.num_generations = 4;
    config.max_completion_length = 6;
    config.num_iterations = 2;
    config.loss.kl.beta = 0.1;
    config.loss.entropy_coef = 0.01;
    config.train = training(4);
    config.train.per_device_train_batch_size = 8;
    return rl::run_grpo(run.context, config, &reference);
  });
}

TEST_P(DeviceStages, DpoWithAReference) {
  compare([](engine::TestRun& run, const model::Decoder& reference) {
    const std::vector<std::string> pairs = {
        R"({"prompt": "ab", "chosen": "cd", "rejected": "xyz"})",
        R"({"prompt": "hello", "chosen": "you", "rejected": "no"})",
        R"({"prompt": "q", "chosen": "abcde", "rejected": "z"})"};
    run.add_dataset("d", pairs);
    rl::DpoConfig config;
    config.data = {"d"};
    config.train = training(3);
    return rl::run_dpo(run.context, config, &reference);
  });
}

}  // namespace
}  // namespace limbic

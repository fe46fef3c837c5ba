// Forward, backward, optimizer, adapters and checkpoints of a decoder on a device.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/batch.h"
#include "tests/device/on_devices.h"
#include "tests/support/nccl/double_rank.h"
#include "tests/unit/parallel/ranks.h"
#include "trainer/engine/score_targets.h"
#include "trainer/engine/train_engine.h"
#include "trainer/model/lora.h"

namespace limbic {
namespace {

class DeviceTraining : public OnDevices {};
INSTANTIATE_TEST_SUITE_P(On, DeviceTraining, ::testing::Values(Target::kCpuByAten, Target::kGpu),
                         name_of_target);

data::Example document(std::int64_t length, std::int64_t start, bool learned) {
  data::Example example;
  for (std::int64_t t = 0; t < length; ++t) {
    example.ids.push_back(static_cast<std::int32_t>((t * t + 7 * t + start) % 61));
    example.loss_mask.push_back(learned ? 1 : 0);
  }
  return example;
}

// Documents of their own from 1 to 40 tokens, and prompts with one and with three completions.
data::PackedBatch mixed_batch() {
  std::vector<data::Family> families;
  for (const std::int64_t length : {9, 1, 40, 5}) {
    families.push_back({document(length, length, true), {}});
    families.back().first.loss_mask[0] = 0;
  }
  families.push_back({document(12, 3, false),
                      {document(4, 8, true), document(30, 9, true), document(1, 2, true)}});
  families.push_back({document(2, 30, false), {document(6, 20, true)}});
  return data::concat_families(families);
}

at::Tensor loss_of(const model::Decoder& decoder, bool use_adapter = true) {
  const auto scored =
      engine::score_targets(decoder, mixed_batch(), {.use_adapter = use_adapter}).scores;
  // Every target with a weight of its own, so that none can stand in for another.
  const at::Tensor weights = at::linspace(-1.0, 2.0, scored.logprobs.numel(), at::kFloat);
  return (scored.logprobs * weights.to(decoder.device())).sum();
}

void expect_same(const NamedTensors& got, const NamedTensors& want, double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  ASSERT_FALSE(want.empty());
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(got[i].name, want[i].name);
    EXPECT_LT(distance(got[i].tensor, want[i].tensor), tolerance) << want[i].name;
  }
}

TEST_P(DeviceTraining, LossAndGradientsAreThoseOfTheKernels) {
  for (const Json& config : configs()) {
    const model::Decoder want = by_kernels(model::WeightUse::kTrained, config);
    const model::Decoder got = on_device(model::WeightUse::kTrained, config);
    const at::Tensor wanted = loss_of(want);
    const at::Tensor loss = loss_of(got);
    EXPECT_LT(distance(loss, wanted), tolerance());
    wanted.backward();
    loss.backward();
    expect_same(model::export_gradients(got), model::export_gradients(want), tolerance());
  }
}

TEST_P(DeviceTraining, ScoresAreThoseOfTheKernels) {
  const model::Decoder want = by_kernels(model::WeightUse::kFrozen, configs()[0]);
  const model::Decoder got = on_device(model::WeightUse::kFrozen, configs()[0]);
  const auto expected = engine::score_targets(want, mixed_batch(), {}).scores;
  const auto scores = engine::score_targets(got, mixed_batch(), {}).scores;
  EXPECT_LT(distance(scores.logprobs, expected.logprobs), tolerance());
  EXPECT_LT(distance(scores.entropy, expected.entropy), tolerance());
  EXPECT_TRUE(at::equal(scores.argmax.cpu(), expected.argmax));
}

TEST_P(DeviceTraining, Bfloat16StaysAsCloseAsItCan) {
  const Json config = configs()[2];
  const model::Decoder wide = by_kernels(model::WeightUse::kFrozen, config);
  const model::Decoder narrow = by_kernels(model::WeightUse::kFrozen, config, at::kBFloat16);
  const model::Decoder got = on_device(model::WeightUse::kFrozen, config, at::kBFloat16);
  const auto scores = [](const model::Decoder& decoder) {
    return engine::score_targets(decoder, mixed_batch(), {}).scores.logprobs.cpu();
  };
  const double of_kernels = distance(scores(narrow), scores(wide));
  EXPECT_LT(distance(scores(got), scores(wide)), 2 * of_kernels);
}

// B is zero after attaching; fills it so that the adapter does something.
void fill(const model::Decoder& decoder) {
  const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(4);
  for (const NamedTensor& item : model::export_adapter(decoder)) {
    at::Tensor tensor = item.tensor;
    tensor.copy_(at::empty(tensor.sizes()).uniform_(-0.2, 0.2, generator));
  }
}

TEST_P(DeviceTraining, AdapterAndItsGradientsAreThoseOfTheKernels) {
  model::Decoder want = by_kernels(model::WeightUse::kFrozen, configs()[1]);
  model::Decoder got = on_device(model::WeightUse::kFrozen, configs()[1]);
  for (model::Decoder* decoder : {&want, &got}) {
    model::attach_lora(*decoder, {.r = 3, .alpha = 30.0, .target_modules = {"q_proj", "down_proj"}},
                       9, true);
  }
  expect_same(model::export_adapter(got), model::export_adapter(want), 1e-7);
  fill(want);
  fill(got);
  EXPECT_LT(distance(loss_of(got, false), loss_of(want, false)), tolerance());
  const at::Tensor wanted = loss_of(want);
  const at::Tensor loss = loss_of(got);
  EXPECT_LT(distance(loss, wanted), tolerance());
  EXPECT_GT(distance(loss, loss_of(want, false)), 10 * tolerance());
  wanted.backward();
  loss.backward();
  expect_same(model::export_adapter_gradients(got), model::export_adapter_gradients(want),
              tolerance());
}

TEST_P(DeviceTraining, DropoutKeepsTheShareAndFollowsItsSeed) {
  model::Linear linear;
  linear.parts = {{.name = "q", .row = 0, .rows = 4, .rank = 1, .scale = 1.0}};
  linear.compute = at::zeros({4, 500}).to(device());
  linear.adapter = {.rank = 1,
                    .dropout = 0.25,
                    .a = at::ones({1, 500}).to(device()),
                    .b = at::ones({4, 1}).to(device())};
  const at::Tensor x = at::ones({400, 500}).to(device());
  const auto sums = [&](std::uint64_t seed) {
    return model::apply_linear(linear, x, true, seed).cpu();
  };
  const at::Tensor first = sums(1);
  EXPECT_TRUE(at::equal(first, sums(1)));
  EXPECT_FALSE(at::equal(first, sums(2)));
  // 200,000 draws: the mean lies within 5 deviations of 0.0013 of the whole.
  EXPECT_NEAR(first.mean().item<double>() / 500.0, 1.0, 0.0065);
}

constexpr optim::AdamwConfig kAdamw{.adam_epsilon = 1e-2, .weight_decay = 0.1};

NamedTensors trained(model::Decoder& decoder, int steps, std::vector<engine::StepResult>& results) {
  const auto local = parallel::make_staged(parallel::make_local());
  engine::TrainEngine engine(decoder, *local, kAdamw, 1.0);
  for (int i = 0; i < steps; ++i) {
    results.push_back(engine.step(
        2, [&](std::size_t) { return loss_of(decoder) * 0.01; }, 1e-2));
  }
  return engine.state();
}

TEST_P(DeviceTraining, StepsOfTheEngineAreThoseOfTheKernels) {
  model::Decoder want = by_kernels(model::WeightUse::kTrained, configs()[0]);
  model::Decoder got = on_device(model::WeightUse::kTrained, configs()[0]);
  std::vector<engine::StepResult> expected, results;
  const NamedTensors wanted = trained(want, 3, expected);
  const NamedTensors state = trained(got, 3, results);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(results[i].loss, expected[i].loss, 10 * tolerance() * std::abs(expected[i].loss));
    EXPECT_NEAR(results[i].grad_norm, expected[i].grad_norm,
                10 * tolerance() * expected[i].grad_norm);
  }
  expect_same(state, wanted, 10 * tolerance());
  EXPECT_LT(distance(loss_of(got), loss_of(want)), 10 * tolerance()) << "compute copies lag behind";
}

// One of two ranks: it has half of the loss, and its share of the optimizer.
NamedTensors trained_as_one_of_two(model::Decoder&& decoder, parallel::Communicator& communicator,
                                   std::int64_t zero_stage) {
  engine::TrainEngine engine(decoder, communicator, kAdamw, 1.0,
                             {.zero_stage = zero_stage, .bucket_bytes = 3000});
  for (int i = 0; i < 3; ++i) {
    engine.step(
        1, [&](std::size_t) { return loss_of(decoder) * 0.01; }, 1e-2);
  }
  return engine.state();
}

// Gradients and weights go by way of host buffers of a few hundred elements.
TEST_P(DeviceTraining, TwoRanksTrainAsOneDoes) {
  model::Decoder alone = by_kernels(model::WeightUse::kTrained, configs()[0]);
  std::vector<engine::StepResult> results;
  const NamedTensors want = trained(alone, 3, results);
  auto world = parallel::make_threads(2, parallel::kTestTimeoutSeconds);
  for (auto& rank : world) {
    rank = parallel::make_staged(std::move(rank),
                                 {.every_tensor = device().is_cpu(), .piece_bytes = 2000});
  }
  const auto play = [&](parallel::Communicator& communicator) {
    const NamedTensors state =
        trained_as_one_of_two(on_device(model::WeightUse::kTrained, configs()[0]), communicator, 1);
    expect_same(state, want, 10 * tolerance());
  };
  parallel::rethrow_first(parallel::outcomes_of_world(world, play));
}

// The double of NCCL adds in rank order: gradients, weights and moments are those of ranks that
// exchange in memory, bit for bit, with the optimizer whole and sharded.
TEST(NcclTraining, TwoRanksTrainAsByAnyOtherCommunicator) {
  const auto decoder = [] {
    return model::tiny_model(model::WeightUse::kTrained, at::kFloat, configs()[0]);
  };
  for (const std::int64_t zero_stage : {0, 1}) {
    NamedTensors want;
    parallel::run_ranks(2, [&](parallel::Communicator& c) {
      const NamedTensors state = trained_as_one_of_two(decoder(), c, zero_stage);
      if (c.rank() == 0) want = state;
    });
    parallel::run_ranks(2, [&](parallel::Communicator& control) {
      const auto rank = test::make_double_rank(control, parallel::kTestTimeoutSeconds);
      const NamedTensors state = trained_as_one_of_two(decoder(), *rank, zero_stage);
      ASSERT_EQ(state.size(), want.size());
      for (std::size_t i = 0; i < state.size(); ++i) {
        EXPECT_TRUE(at::equal(state[i].tensor, want[i].tensor)) << state[i].name;
      }
    });
  }
}

// A rank whose communicator fails in the middle of training: both end, each naming its call.
TEST(NcclTraining, AFailureInAStepEndsBothRanks) {
  const test::FaultyNccl fault(test::NcclFault::kFailsOnTheWay, 1, 3);
  const auto outcomes = parallel::outcomes_of_ranks(2, [&](parallel::Communicator& control) {
    const auto rank = test::make_double_rank(control, parallel::kTestTimeoutSeconds);
    trained_as_one_of_two(model::tiny_model(model::WeightUse::kTrained, at::kFloat, configs()[0]),
                          *rank, 1);
  });
  for (const auto& outcome : outcomes) {
    EXPECT_THAT(parallel::message_of_outcome<CommError>(outcome),
                testing::HasSubstr("NCCL said 'remote process exited"));
  }
}

TEST_P(DeviceTraining, AStateMovesBetweenDevices) {
  model::Decoder from = by_kernels(model::WeightUse::kTrained, configs()[0]);
  std::vector<engine::StepResult> results;
  const NamedTensors state = trained(from, 2, results);
  model::Decoder to = on_device(model::WeightUse::kTrained, configs()[0]);
  const auto local = parallel::make_staged(parallel::make_local());
  engine::TrainEngine engine(to, *local, kAdamw, 1.0);
  engine.load_state(state, 2);
  expect_same(engine.state(), state, 1e-7);
  EXPECT_LT(distance(loss_of(to), loss_of(from)), tolerance());
}

}  // namespace
}  // namespace limbic

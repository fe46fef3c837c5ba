#include "trainer/engine/train_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "data/row_plan.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"
#include "tests/unit/parallel/ranks.h"
#include "trainer/base/error.h"
#include "trainer/engine/score_targets.h"

namespace limbic::engine {
namespace {

using testing::HasSubstr;

// With norms of 10 elements per head: the number of elements is no multiple of 3.
model::Decoder odd_model() {
  Json config = model::tiny_config();
  config["architectures"] = {"Qwen3ForCausalLM"};
  return model::tiny_model(model::WeightUse::kTrained, at::kFloat, config);
}

// A large epsilon keeps Adam from blowing up the rounding of tiny gradients.
constexpr optim::AdamwConfig kAdamw{.adam_epsilon = 1e-2, .weight_decay = 0.1};
constexpr double kRate = 1e-2;
constexpr std::int64_t kDocuments = 5;

NamedTensors copy_of(const NamedTensors& state) {
  NamedTensors copy;
  for (const auto& [name, tensor] : state) copy.push_back({name, tensor.clone()});
  return copy;
}

bool same_bits(const NamedTensors& a, const NamedTensors& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const at::Tensor &x = a[i].tensor, &y = b[i].tensor;
    if (a[i].name != b[i].name || x.sizes() != y.sizes()) return false;
    if (std::memcmp(x.data_ptr(), y.data_ptr(), x.nbytes()) != 0) return false;
  }
  return true;
}

double largest_difference(const NamedTensors& a, const NamedTensors& b) {
  double largest = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, (a[i].tensor - b[i].tensor).abs().max().item<double>());
  }
  return largest;
}

// The loss of one document of a step, and its share of the documents of the step.
using LossOf = std::function<at::Tensor(const model::Decoder&, std::int64_t document)>;

// A loss whose gradient is a small multiple of 1/64 in every element, so that sums over documents
// are exact in any order.
at::Tensor exact_loss(const model::Decoder& decoder, std::int64_t document) {
  at::Tensor loss = at::zeros({});
  for (const auto& leaf : decoder.trained_leaves()) {
    const at::Tensor index = at::arange(leaf.tensor.numel()).view(leaf.tensor.sizes());
    loss = loss + (leaf.tensor * ((index * 7 + document * 5).remainder(17) - 8) / 64.0).sum();
  }
  return loss;
}

// What stages do: the mean over the targets of all documents.
at::Tensor model_loss(const model::Decoder& decoder, std::int64_t document) {
  data::Example example;
  for (std::int64_t t = 0; t < 5 + 2 * document; ++t) {
    example.ids.push_back(static_cast<std::int32_t>((t * t + 11 * document + 3) % 61));
    example.loss_mask.push_back(t > 1 ? 1 : 0);
  }
  const data::PackedBatch batch = data::concat(std::span(&example, 1));
  return score_targets(decoder, batch, {}).scores.logprobs.sum() * (-1.0 / 35.0);
}

struct Training {
  NamedTensors state;
  std::vector<StepResult> steps;
};

struct World {
  int ranks = 1;
  Parallelism parallelism = {};
  double max_grad_norm = 0.0;
  int steps = 3;
};

std::vector<std::int64_t> documents_of(const parallel::Communicator& c) {
  std::vector<std::int64_t> all(kDocuments);
  for (std::int64_t i = 0; i < kDocuments; ++i) all[static_cast<std::size_t>(i)] = i;
  return data::shard(all, c.rank(), c.size());
}

StepResult one_step(TrainEngine& engine, const model::Decoder& decoder,
                    const parallel::Communicator& c, const LossOf& loss_of) {
  const auto mine = documents_of(c);
  return engine.step(
      mine.size(), [&](std::size_t i) { return loss_of(decoder, mine[i]); }, kRate);
}

// The same documents in every world. Checks that all ranks end alike.
Training run_of(const World& world, const LossOf& loss_of) {
  std::vector<Training> runs(static_cast<std::size_t>(world.ranks));
  parallel::run_ranks(world.ranks, [&](parallel::Communicator& c) {
    model::Decoder decoder = odd_model();
    TrainEngine engine(decoder, c, kAdamw, world.max_grad_norm, world.parallelism);
    Training& run = runs[static_cast<std::size_t>(c.rank())];
    for (int i = 0; i < world.steps; ++i) {
      run.steps.push_back(one_step(engine, decoder, c, loss_of));
    }
    EXPECT_EQ(engine.steps_done(), world.steps);
    run.state = copy_of(engine.state());
  });
  for (const Training& run : runs) {
    EXPECT_TRUE(same_bits(run.state, runs[0].state)) << "ranks differ";
    for (std::size_t i = 0; i < run.steps.size(); ++i) {
      EXPECT_EQ(run.steps[i].loss, runs[0].steps[i].loss);
      EXPECT_EQ(run.steps[i].grad_norm, runs[0].steps[i].grad_norm);
      EXPECT_EQ(run.steps[i].learning_rate, kRate);
    }
  }
  return runs[0];
}

std::vector<World> worlds() {
  std::vector<World> all;
  for (const int ranks : {1, 2, 3}) {
    for (const std::int64_t zero_stage : {0, 1, 2}) {  // losses here read leaves without a pass
      for (const std::int64_t bucket_bytes : {25'000'000, 4004}) {
        all.push_back({.ranks = ranks,
                       .parallelism = {.zero_stage = zero_stage, .bucket_bytes = bucket_bytes}});
      }
    }
  }
  all.push_back({.ranks = 3, .parallelism = {.bucket_bytes = 4004, .overlap = false}});
  for (const std::int64_t zero_stage : {1, 2}) {
    for (const std::int64_t shard_ranks : {1, 2}) {
      all.push_back(
          {.ranks = 4,
           .parallelism = {
               .zero_stage = zero_stage, .shard_ranks = shard_ranks, .bucket_bytes = 4004}});
    }
  }
  all.push_back({.ranks = 7, .parallelism = {.zero_stage = 1}});  // two ranks have no documents
  return all;
}

TEST(TrainEngine, TheModelOfTheTestsDoesNotDivideEvenly) {
  model::Decoder decoder = odd_model();
  const auto local = parallel::make_local();
  const TrainEngine engine(decoder, *local, kAdamw, 0.0);
  EXPECT_NE(engine.trained_elements() % 3, 0);
  EXPECT_NE(engine.trained_elements() % 7, 0);
}

TEST(TrainEngine, EveryWorldComputesTheSameBitsFromExactGradients) {
  const Training want = run_of({}, exact_loss);
  for (const World& world : worlds()) {
    const Training got = run_of(world, exact_loss);
    EXPECT_TRUE(same_bits(got.state, want.state))
        << world.ranks << " ranks, zero_stage " << world.parallelism.zero_stage;
    EXPECT_NEAR(got.steps[2].grad_norm, want.steps[2].grad_norm, 1e-9 * want.steps[2].grad_norm);
  }
}

TEST(TrainEngine, EveryWorldTrainsTheModelAlike) {
  const Training want = run_of({.max_grad_norm = 0.05}, model_loss);
  EXPECT_GT(want.steps[0].grad_norm, 0.05) << "nothing is clipped";
  EXPECT_LT(want.steps[2].loss, want.steps[0].loss);
  for (World world : worlds()) {
    world.max_grad_norm = 0.05;
    const Training got = run_of(world, model_loss);
    const auto where =
        fmt::format("{} ranks, zero_stage {}", world.ranks, world.parallelism.zero_stage);
    EXPECT_LT(largest_difference(got.state, want.state), 1e-6) << where;
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(got.steps[i].loss, want.steps[i].loss, 1e-6) << where;
      EXPECT_NEAR(got.steps[i].grad_norm, want.steps[i].grad_norm, 1e-6) << where;
    }
  }
}

// Clipped, so that the norm takes part.
TEST(TrainEngine, NeitherShardsNorOverlapChangeABit) {
  for (const int ranks : {2, 3}) {
    for (const std::int64_t bucket_bytes : {25'000'000, 4004}) {
      const auto run = [&](std::int64_t zero_stage, bool overlap) {
        return run_of({.ranks = ranks,
                       .parallelism = {.zero_stage = zero_stage,
                                       .bucket_bytes = bucket_bytes,
                                       .overlap = overlap},
                       .max_grad_norm = 0.05},
                      model_loss);
      };
      const Training want = run(0, false);
      for (const std::int64_t zero_stage : {0, 1, 2, 3}) {
        for (const bool overlap : {false, true}) {
          EXPECT_TRUE(same_bits(run(zero_stage, overlap).state, want.state))
              << ranks << " ranks, zero_stage " << zero_stage << ", overlap " << overlap;
        }
      }
    }
  }
}

// Exact gradients of few bits survive; others are rounded once per rank.
TEST(TrainEngine, GradientsMayTravelInHalf) {
  for (const std::int64_t zero_stage : {0, 1}) {
    const Parallelism half{.zero_stage = zero_stage, .bucket_bytes = 4004, .half_wire = true};
    EXPECT_TRUE(same_bits(run_of({.ranks = 2, .parallelism = half, .steps = 1}, exact_loss).state,
                          run_of({.ranks = 2, .steps = 1}, exact_loss).state));
    const Training want = run_of({.ranks = 2, .steps = 1}, model_loss);
    const Training got = run_of({.ranks = 2, .parallelism = half, .steps = 1}, model_loss);
    const double difference = largest_difference(got.state, want.state);
    EXPECT_GT(difference, 0.0);
    EXPECT_LT(difference, 2e-2 * kRate);
  }
}

// A rank that fails in its backward pass leaves the others with an error, not waiting.
TEST(TrainEngine, AFailureInBackwardEndsTheExchange) {
  std::atomic<int> failed = 0;
  parallel::run_ranks(2, [&](parallel::Communicator& c) {
    model::Decoder decoder = odd_model();
    TrainEngine engine(decoder, c, kAdamw, 0.0, {.bucket_bytes = 4004});
    const auto broken = [&](std::size_t) {
      at::Tensor loss = exact_loss(decoder, 0);
      if (c.rank() == 1) {
        loss.register_hook([](const at::Tensor&) { throw DataError("broken"); });
      }
      return loss;
    };
    try {
      engine.step(1, broken, kRate);
      ADD_FAILURE() << "rank " << c.rank();
    } catch (const std::exception&) {
      ++failed;
      c.abort("the backward pass failed", 1);
    }
  });
  EXPECT_EQ(failed, 2);
}

// Gradients of the norm of all leaves against the formula, and the factor on the update.
TEST(TrainEngine, ClipsByTheNormOfAllElements) {
  const auto local = parallel::make_local();
  model::Decoder decoder = odd_model();
  TrainEngine engine(decoder, *local, kAdamw, 0.5);
  const StepResult result = one_step(engine, decoder, *local, exact_loss);
  double squares = 0.0;
  double loss = 0.0;
  for (const auto& leaf : decoder.trained_leaves()) {
    squares += leaf.tensor.grad().to(at::kDouble).pow(2).sum().item<double>();
  }
  model::Decoder fresh = odd_model();
  for (std::int64_t i = 0; i < kDocuments; ++i) loss += exact_loss(fresh, i).item<double>();
  EXPECT_NEAR(result.grad_norm, std::sqrt(squares), 1e-9 * std::sqrt(squares));
  EXPECT_NEAR(result.loss, loss, 1e-4);
  // The first moment is (1 - beta1) * factor * gradient.
  const at::Tensor moment = engine.state()[1].tensor.to(at::kDouble);
  EXPECT_NEAR(moment.norm().item<double>(), 0.1 * 0.5, 1e-6);
}

TEST(TrainEngine, StepsFollowTheLeavesOfTheDecoder) {
  const auto local = parallel::make_local();
  model::Decoder decoder = odd_model();
  TrainEngine engine(decoder, *local, kAdamw, 0.0);
  const double before = model_loss(decoder, 0).item<double>();
  for (int i = 0; i < 3; ++i) one_step(engine, decoder, *local, model_loss);
  EXPECT_LT(model_loss(decoder, 0).item<double>(), before);
  std::vector<at::Tensor> flat;
  for (const auto& leaf : decoder.trained_leaves()) flat.push_back(leaf.tensor.detach().view({-1}));
  EXPECT_TRUE(at::equal(at::cat(flat), engine.state()[0].tensor));
}

TEST(TrainEngine, StateMovesBetweenWorlds) {
  const Training undisturbed = run_of({.steps = 4}, exact_loss);
  const Training half = run_of({.ranks = 3, .steps = 2}, exact_loss);
  for (const World& world : worlds()) {
    parallel::run_ranks(world.ranks, [&](parallel::Communicator& c) {
      model::Decoder decoder = odd_model();
      TrainEngine engine(decoder, c, kAdamw, 0.0, world.parallelism);
      one_step(engine, decoder, c, model_loss);  // whatever was there is replaced
      engine.load_state(half.state, 2);
      EXPECT_TRUE(same_bits(engine.state(), half.state));
      for (int i = 0; i < 2; ++i) one_step(engine, decoder, c, exact_loss);
      EXPECT_EQ(engine.steps_done(), 4);
      EXPECT_TRUE(same_bits(engine.state(), undisturbed.state))
          << world.ranks << " ranks, zero_stage " << world.parallelism.zero_stage;
    });
  }
}

TEST(TrainEngine, StateThatDoesNotFitIsADataError) {
  const auto local = parallel::make_local();
  model::Decoder decoder = odd_model();
  TrainEngine engine(decoder, *local, kAdamw, 0.0);
  const NamedTensors before = copy_of(engine.state());
  for (std::size_t i = 0; i < 3; ++i) {
    NamedTensors state = copy_of(before);
    for (auto& tensor : state) tensor.tensor.add_(1.0);
    const std::string name = state[i].name;
    state[i].tensor = at::zeros({7});
    EXPECT_THAT(test::message_of<DataError>([&] { engine.load_state(state, 5); }),
                HasSubstr(name + ": got 7 values"));
    state.erase(state.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_THAT(test::message_of<DataError>([&] { engine.load_state(state, 5); }),
                HasSubstr("got no '" + name + "'"));
  }
  EXPECT_TRUE(same_bits(engine.state(), before)) << "a part was taken";
  EXPECT_EQ(engine.steps_done(), 0);
}

void expect_nothing_updated(const World& world, const LossOf& broken) {
  parallel::run_ranks(world.ranks, [&](parallel::Communicator& c) {
    model::Decoder decoder = odd_model();
    TrainEngine engine(decoder, c, kAdamw, world.max_grad_norm, world.parallelism);
    one_step(engine, decoder, c, exact_loss);
    const NamedTensors before = copy_of(engine.state());
    EXPECT_TRUE(one_step(engine, decoder, c, broken).skipped);
    EXPECT_EQ(engine.steps_done(), 1);
    EXPECT_TRUE(same_bits(engine.state(), before));
    one_step(engine, decoder, c, exact_loss);
    const NamedTensors after = copy_of(engine.state());
    engine.load_state(before, 1);
    one_step(engine, decoder, c, exact_loss);
    EXPECT_TRUE(same_bits(engine.state(), after)) << "the broken step left something behind";
  });
}

// One rank has the broken document; all stop, and the next step is as if it had not been.
TEST(TrainEngine, WhatIsNotFiniteUpdatesNothing) {
  const float bad_values[] = {std::numeric_limits<float>::quiet_NaN(),
                              std::numeric_limits<float>::infinity()};
  for (World world : worlds()) {
    if (world.ranks > 3) continue;
    for (const float bad : bad_values) {
      world.max_grad_norm = std::isnan(bad) ? 0.0 : 1.0;
      expect_nothing_updated(world, [&](const model::Decoder& decoder, std::int64_t document) {
        const at::Tensor loss = exact_loss(decoder, document);
        return document == kDocuments - 1 ? loss * bad : loss;
      });
    }
  }
}

TEST(TrainEngine, ALossWithoutGradientCountsOnly) {
  const auto local = parallel::make_local();
  model::Decoder decoder = odd_model();
  TrainEngine engine(decoder, *local, {}, 1.0);
  const NamedTensors before = copy_of(engine.state());
  const auto result = engine.step(
      2, [](std::size_t) { return at::full({}, 0.5); }, kRate);
  EXPECT_EQ(result.loss, 1.0);
  EXPECT_EQ(result.grad_norm, 0.0);
  EXPECT_TRUE(same_bits(engine.state(), before));
}

TEST(TrainEngine, AFrozenModelIsRefused) {
  const auto local = parallel::make_local();
  model::Decoder decoder = model::tiny_model();
  EXPECT_THROW(TrainEngine(decoder, *local, kAdamw, 0.0), std::logic_error);
}

}  // namespace
}  // namespace limbic::engine

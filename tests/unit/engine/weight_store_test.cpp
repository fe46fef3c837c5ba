// Training with shares of everything against training with everything, bit for bit: whole models,
// bfloat16, adapters, and ranks whose passes differ in number and kind.
#include "trainer/engine/sharding/weight_store.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "data/batch.h"
#include "tests/support/tiny_model.h"
#include "tests/unit/parallel/ranks.h"
#include "trainer/engine/score_targets.h"
#include "trainer/engine/train_engine.h"
#include "trainer/generation/generator.h"
#include "trainer/model/lora.h"
#include "trainer/parallel/collectives.h"

namespace limbic::engine {
namespace {

constexpr optim::AdamwConfig kAdamw{.adam_epsilon = 1e-2, .weight_decay = 0.1};

using MakeModel = std::function<model::Decoder()>;

model::Decoder with_adapter(at::ScalarType compute, std::vector<std::string> targets) {
  model::Decoder decoder = model::tiny_model(model::WeightUse::kFrozen, compute);
  model::LoraConfig lora;
  lora.r = 2;
  lora.target_modules = std::move(targets);
  model::attach_lora(decoder, lora, 3, true);
  return decoder;
}

struct Kind {
  const char* name;
  MakeModel make;
};
const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {"whole", [] { return model::tiny_model(model::WeightUse::kTrained, at::kFloat); }},
      {"bfloat16", [] { return model::tiny_model(model::WeightUse::kTrained, at::kBFloat16); }},
      {"adapter",
       [] {
         return with_adapter(at::kFloat, {"q_proj", "v_proj", "down_proj"});
       }},
      {"adapter bfloat16",
       [] {
         return with_adapter(at::kBFloat16, {"q_proj", "up_proj"});
       }},
      {"upper adapter", [] { return with_adapter(at::kFloat, {"model.layers.1.mlp.down_proj"}); }},
  };
  return all;
}

at::Tensor loss_of(const model::Decoder& decoder, std::int64_t document) {
  data::Example example;
  for (std::int64_t t = 0; t < 5 + 2 * document; ++t) {
    example.ids.push_back(static_cast<std::int32_t>((t * t + 11 * document + 3) % 61));
    example.loss_mask.push_back(t > 1 ? 1 : 0);
  }
  const data::PackedBatch batch = data::concat(std::span(&example, 1));
  return score_targets(decoder, batch, {}).scores.logprobs.sum() * (-1.0 / 35.0);
}

// Completions of other lengths on every rank.
std::vector<std::int32_t> sampled(const model::Decoder& decoder, int rank, int step) {
  std::vector<std::int32_t> ids;
  decoder.run_passes([&] {
    const std::vector<generation::Prompt> prompts(
        1, {.ids = {5, 7, 11}, .seed = static_cast<std::uint64_t>(17 * step + rank)});
    generation::GenerationConfig settings;
    settings.max_new_tokens = 2 + 3 * rank;
    settings.group = 2;
    for (const auto& group : generation::generate(decoder, prompts, settings)) {
      for (const auto& completion : group) {
        ids.insert(ids.end(), completion.ids.begin(), completion.ids.end());
      }
    }
  });
  return ids;
}

struct Result {
  NamedTensors state, weights;
  std::vector<double> losses, norms;
  std::vector<std::int32_t> ids;  // of rank 0
};

// Rank r has r + 1 documents in a step, the last rank none.
Result train(const MakeModel& make, int ranks, const Parallelism& parallelism) {
  Result result;
  parallel::run_ranks(ranks, [&](parallel::Communicator& c) {
    model::Decoder decoder = make();
    TrainEngine engine(decoder, c, kAdamw, 0.05, parallelism);
    Result mine;
    for (int step = 0; step < 3; ++step) {
      const auto ids = sampled(decoder, c.rank(), step);
      mine.ids.insert(mine.ids.end(), ids.begin(), ids.end());
      const bool none = ranks > 1 && c.rank() + 1 == ranks;
      const StepResult done = engine.step(
          none ? 0 : static_cast<std::size_t>(c.rank() + 1),
          [&](std::size_t i) { return loss_of(decoder, static_cast<std::int64_t>(i) + c.rank()); },
          1e-2);
      mine.losses.push_back(done.loss);
      mine.norms.push_back(done.grad_norm);
    }
    mine.state = engine.state();
    engine.give_back_weights();
    for (const auto& leaf : decoder.trained_leaves()) {
      mine.weights.push_back({leaf.name, leaf.tensor.detach().clone()});
    }
    for (std::size_t b = 0; b < decoder.blocks(); ++b) {
      for (const at::Tensor& tensor : decoder.frozen_tensors(b)) {
        mine.weights.push_back({"frozen", tensor.clone()});
      }
    }
    mine.losses.push_back(loss_of(decoder, 1).item<double>());  // with no keeper any more
    if (c.rank() == 0) result = std::move(mine);
  });
  return result;
}

void expect_same(const Result& got, const Result& want, const std::string& where) {
  EXPECT_EQ(got.losses, want.losses) << where;
  EXPECT_EQ(got.norms, want.norms) << where;
  EXPECT_EQ(got.ids, want.ids) << where;
  for (const auto& [mine, theirs] :
       {std::pair(&got.state, &want.state), std::pair(&got.weights, &want.weights)}) {
    ASSERT_EQ(mine->size(), theirs->size()) << where;
    for (std::size_t i = 0; i < mine->size(); ++i) {
      const at::Tensor a = (*mine)[i].tensor.contiguous(), b = (*theirs)[i].tensor.contiguous();
      ASSERT_EQ(a.sizes(), b.sizes()) << where;
      EXPECT_EQ(std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()), 0)
          << where << ": " << (*mine)[i].name;
    }
  }
}

class Stages : public testing::TestWithParam<std::size_t> {};

TEST_P(Stages, ComputeTheSameBits) {
  const Kind& kind = kinds()[GetParam()];
  for (const int ranks : {2, 4}) {
    const Result want = train(kind.make, ranks, {.zero_stage = 0, .overlap = false});
    EXPECT_LT(want.losses[2], want.losses[0]);
    for (const std::int64_t stage : {1, 2, 3}) {
      for (const bool overlap : {false, true}) {
        const Result got = train(kind.make, ranks,
                                 {.zero_stage = stage, .bucket_bytes = 1000, .overlap = overlap});
        const Result wide = train(kind.make, ranks, {.zero_stage = stage, .overlap = overlap});
        const auto where = fmt::format("{}, {} ranks, zero_stage {}, overlap {}", kind.name, ranks,
                                       stage, overlap);
        expect_same(wide, want, where);
        EXPECT_EQ(got.ids, want.ids) << where;  // the norm is added in another order
        EXPECT_NEAR(got.losses[2], want.losses[2], 1e-5) << where;
      }
    }
  }
}

// Two copies of two ranks each: what is added in another order is rounded otherwise, but alike in
// all stages.
TEST_P(Stages, ComputeTheSameBitsInGroups) {
  const Kind& kind = kinds()[GetParam()];
  const Result whole = train(kind.make, 4, {.zero_stage = 0});
  const Result want = train(kind.make, 4, {.zero_stage = 1, .shard_ranks = 2, .overlap = false});
  EXPECT_EQ(want.ids, whole.ids);
  EXPECT_NEAR(want.losses[2], whole.losses[2], 1e-5);
  for (const std::int64_t stage : {1, 2, 3}) {
    expect_same(train(kind.make, 4, {.zero_stage = stage, .shard_ranks = 2}), want,
                fmt::format("{}, zero_stage {}", kind.name, stage));
  }
}

INSTANTIATE_TEST_SUITE_P(WeightStore, Stages, testing::Range<std::size_t>(0, 5),
                         [](const auto& kind) {
                           std::string name = kinds()[kind.param].name;
                           std::replace(name.begin(), name.end(), ' ', '_');
                           return name;
                         });

// What a rank holds between steps.
TEST(WeightStore, ShardedWeightsLeaveNoMemoryInTheModel) {
  for (const Kind& kind : kinds()) {
    parallel::run_ranks(2, [&](parallel::Communicator& c) {
      model::Decoder decoder = kind.make();
      TrainEngine engine(decoder, c, kAdamw, 0.0, {.zero_stage = 3});
      const auto expect_empty = [&] {
        for (const auto& leaf : decoder.trained_leaves()) {
          EXPECT_EQ(leaf.tensor.storage().data(), nullptr) << kind.name << ": " << leaf.name;
        }
        for (std::size_t b = 0; b < decoder.blocks(); ++b) {
          for (const at::Tensor& tensor : decoder.frozen_tensors(b)) {
            EXPECT_EQ(tensor.storage().data(), nullptr) << kind.name << ", block " << b;
          }
          for (const at::Tensor& tensor : decoder.compute_copies(b)) {
            EXPECT_EQ(tensor.storage().data(), nullptr) << kind.name << ", block " << b;
          }
        }
      };
      expect_empty();
      engine.step(
          1, [&](std::size_t) { return loss_of(decoder, 0); }, 1e-2);
      expect_empty();
      for (const auto& leaf : decoder.trained_leaves()) EXPECT_FALSE(leaf.tensor.grad().defined());
    });
  }
}

TEST(WeightStore, APassThatFailsLeavesNobodyWaiting) {
  parallel::run_ranks(2, [&](parallel::Communicator& c) {
    model::Decoder decoder = kinds()[0].make();
    TrainEngine engine(decoder, c, kAdamw, 0.0, {.zero_stage = 3});
    const at::NoGradGuard no_grad;
    const auto work = [&] {
      decoder.run_passes([&] {
        loss_of(decoder, 0);
        if (c.rank() == 1) throw DataError("broken");
        loss_of(decoder, 1);
        loss_of(decoder, 2);
      });
    };
    if (c.rank() == 1) {
      EXPECT_THROW(work(), DataError);
    } else {
      work();
    }
    EXPECT_EQ(parallel::sum(c, {1.0})[0], 2.0);
  });
}

}  // namespace
}  // namespace limbic::engine

// Worlds of one to four ranks: the local communicator, threads, and threads behind host buffers.
#include "trainer/parallel/communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>

#include "tests/unit/parallel/ranks.h"
#include "trainer/base/error.h"

namespace limbic::parallel {
namespace {

using testing::HasSubstr;

// 0 stands for the local communicator; negative: the ranks go by way of buffers of a few elements.
class Worlds : public testing::TestWithParam<int> {
 protected:
  int size() const { return GetParam() == 0 ? 1 : std::abs(GetParam()); }
  template <class Play>
  void play(Play play) const {
    if (GetParam() == 0) return play(*make_local());
    if (GetParam() > 0) return run_ranks(GetParam(), play);
    auto world = make_threads(size(), kTestTimeoutSeconds);
    for (auto& rank : world) {
      rank = make_staged(std::move(rank), {.every_tensor = true, .piece_bytes = 100});
    }
    rethrow_first(outcomes_of_world(world, play));
  }
};
INSTANTIATE_TEST_SUITE_P(Sizes, Worlds, testing::Values(0, 1, 2, 3, 4, -1, -3));

// Values whose sum depends on the order of summation in float32.
at::Tensor values_of(int rank, std::int64_t count, at::ScalarType type) {
  const at::Tensor index = at::arange(count, at::kDouble) + 0.37 * (rank + 1);
  return (at::sin(index * 12.9898) * at::pow(10.0, at::remainder(index, 7.0) - 3.0)).to(type);
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()) == 0;
}

TEST_P(Worlds, RanksAreNumbered) {
  std::vector<std::atomic<int>> seen(static_cast<std::size_t>(size()));
  play([&](Communicator& c) {
    EXPECT_EQ(c.size(), size());
    ++seen.at(static_cast<std::size_t>(c.rank()));
  });
  for (const auto& count : seen) EXPECT_EQ(count, 1);
}

TEST_P(Worlds, AllReduceGivesEveryRankTheSameSumBitForBit) {
  for (const auto type : {at::kFloat, at::kDouble}) {
    std::vector<at::Tensor> sums(static_cast<std::size_t>(size()));
    for (const bool second_run : {false, true}) {
      std::vector<at::Tensor> again(sums.size());
      play([&](Communicator& c) {
        const at::Tensor tensor = values_of(c.rank(), 1001 * 3, type).view({1001, 3});
        c.all_reduce_sum(tensor);
        again[static_cast<std::size_t>(c.rank())] = tensor;
      });
      for (const auto& sum : again) EXPECT_TRUE(same_bits(sum, again[0]));
      EXPECT_TRUE(!second_run || same_bits(sums[0], again[0])) << "differs between runs";
      sums = again;
    }
    at::Tensor want = at::zeros({1001 * 3}, at::kDouble);
    for (int r = 0; r < size(); ++r) want += values_of(r, 1001 * 3, type).to(at::kDouble);
    const double tolerance = type == at::kFloat ? 1e-3 : 1e-12;
    EXPECT_TRUE(at::allclose(sums[0].view({-1}).to(at::kDouble), want, 1e-5, tolerance));
  }
}

TEST_P(Worlds, ReduceScatterGivesTheSharesOfAllReduce) {
  play([&](Communicator& c) {
    const std::int64_t share = 257;
    const at::Tensor input = values_of(c.rank(), share * c.size(), at::kFloat);
    const at::Tensor before = input.clone();
    const at::Tensor output = at::full({share}, 7.0f);
    c.reduce_scatter_sum(input, output);
    EXPECT_TRUE(same_bits(input, before)) << "the input was changed";
    const at::Tensor whole = input.clone();
    c.all_reduce_sum(whole);
    EXPECT_TRUE(same_bits(output, whole.slice(0, c.rank() * share, (c.rank() + 1) * share)));
  });
}

TEST_P(Worlds, AllGatherPutsShardsInRankOrderForEveryType) {
  for (const auto type : {at::kFloat, at::kDouble, at::kLong, at::kInt, at::kByte, at::kBFloat16}) {
    play([&](Communicator& c) {
      const at::Tensor mine = (at::arange(6, at::kLong) + 10 * c.rank()).to(type).view({2, 3});
      const at::Tensor all = at::zeros({2 * c.size(), 3}, type);
      c.all_gather(mine, all);
      for (int r = 0; r < c.size(); ++r) {
        const at::Tensor want = (at::arange(6, at::kLong) + 10 * r).to(type).view({2, 3});
        EXPECT_TRUE(at::equal(all.slice(0, 2 * r, 2 * r + 2), want)) << r;
      }
    });
  }
}

TEST_P(Worlds, AllGatherTakesTheOwnShardOfItsOutput) {
  play([&](Communicator& c) {
    const at::Tensor all = at::full({5 * c.size()}, -1.0f);
    const at::Tensor mine = all.slice(0, 5 * c.rank(), 5 * (c.rank() + 1));
    mine.fill_(c.rank());
    c.all_gather(mine, all);
    EXPECT_TRUE(at::equal(all, at::arange(c.size()).repeat_interleave(5).to(at::kFloat)));
  });
}

TEST_P(Worlds, BroadcastComesFromEveryRoot) {
  for (const auto type : {at::kFloat, at::kBFloat16, at::kLong, at::kByte}) {
    play([&](Communicator& c) {
      for (int root = 0; root < c.size(); ++root) {
        const at::Tensor tensor = at::full({4, 5}, 3 + c.rank() + 10 * root, type);
        c.broadcast(tensor, root);
        EXPECT_TRUE(at::equal(tensor, at::full({4, 5}, 3 + root + 10 * root, type)));
      }
    });
  }
}

std::string bytes_of(int rank) {
  switch (rank) {
    case 0:
      return std::string("a\0b\xff", 4);
    case 1:
      return "";
    default:
      return std::string(static_cast<std::size_t>(70001 * rank), static_cast<char>('0' + rank));
  }
}

TEST_P(Worlds, AllGatherBytesTakesDifferentLengths) {
  play([&](Communicator& c) {
    const auto all = c.all_gather_bytes(bytes_of(c.rank()));
    ASSERT_EQ(all.size(), static_cast<std::size_t>(c.size()));
    for (int r = 0; r < c.size(); ++r) EXPECT_TRUE(all[static_cast<std::size_t>(r)] == bytes_of(r));
    for (const auto& none : c.all_gather_bytes("")) EXPECT_EQ(none, "");
  });
}

TEST_P(Worlds, ManyCollectivesInARowStayInStep) {
  play([&](Communicator& c) {
    for (int round = 0; round < 200; ++round) {
      const at::Tensor sum = at::full({3}, static_cast<double>(round + c.rank()), at::kDouble);
      c.all_reduce_sum(sum);
      const double want = c.size() * round + c.size() * (c.size() - 1) / 2.0;
      ASSERT_EQ(sum[2].item<double>(), want) << round;
      const auto texts = c.all_gather_bytes(std::to_string(round * 10 + c.rank()));
      ASSERT_EQ(texts.back(), std::to_string(round * 10 + c.size() - 1));
      if (round % 3 == 0) c.barrier();
    }
  });
}

TEST_P(Worlds, EmptyTensorsPass) {
  play([&](Communicator& c) {
    c.all_reduce_sum(at::empty({0}, at::kDouble));
    c.all_gather(at::empty({0}), at::empty({0}));
    c.broadcast(at::empty({0}), 0);
  });
}

TEST_P(Worlds, EveryoneArrivesWhenAllCome) {
  play([&](Communicator& c) { EXPECT_TRUE(c.everyone_arrives(kTestTimeoutSeconds)); });
}

TEST_P(Worlds, MistakesOfTheProgrammerAreNamedOnEveryRank) {
  play([&](Communicator& c) {
    EXPECT_THROW(c.all_reduce_sum(at::zeros({4, 4}).t()), std::logic_error);
    EXPECT_THROW(c.all_reduce_sum(at::zeros({4}, at::kLong)), std::logic_error);
    EXPECT_THROW(c.reduce_scatter_sum(at::zeros({4 * c.size() + 1}), at::zeros({4})),
                 std::logic_error);
    EXPECT_THROW(c.all_gather(at::zeros({4}), at::zeros({4 * c.size() + 1})), std::logic_error);
    EXPECT_THROW(c.broadcast(at::zeros({4}), c.size()), std::logic_error);
    c.barrier();  // nobody was left behind
  });
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(ThreadWorld, AbortWakesEveryoneWhoWaits) {
  const auto start = std::chrono::steady_clock::now();
  const auto outcomes = outcomes_of_ranks(4, [](Communicator& c) {
    if (c.rank() == 2) return c.abort("out of paper", 70);
    c.barrier();
  });
  EXPECT_LT(seconds_since(start), kTestTimeoutSeconds / 2);
  for (const std::size_t r : {0u, 1u, 3u}) {
    EXPECT_THAT(message_of_outcome<CommError>(outcomes[r]), HasSubstr("rank 2: out of paper"));
  }
  EXPECT_FALSE(outcomes[2]);
}

TEST(ThreadWorld, AnAbortedWorldStaysAborted) {
  const auto world = make_threads(2, kTestTimeoutSeconds);
  world[0]->abort("gone", 70);
  for (const auto& rank : world) {
    EXPECT_THROW(rank->barrier(), CommError);
    EXPECT_THROW(rank->all_gather_bytes("x"), CommError);
    EXPECT_FALSE(rank->everyone_arrives(kTestTimeoutSeconds));
  }
}

TEST(ThreadWorld, AMissingRankIsACommErrorAfterTheTimeout) {
  const auto outcomes = outcomes_of_ranks(
      3,
      [](Communicator& c) {
        if (c.rank() != 1) c.all_reduce_sum(at::zeros({8}));
      },
      0.05);
  for (const std::size_t r : {0u, 2u}) {
    const std::string message = message_of_outcome<CommError>(outcomes[r]);
    EXPECT_THAT(message, HasSubstr("all_reduce_sum"));
    EXPECT_THAT(message, HasSubstr("0.05"));
  }
}

TEST(ThreadWorld, TheTimeoutCanBeChanged) {
  const auto world = make_threads(2, 1000.0);
  world[0]->set_timeout(0.02);
  EXPECT_THROW(world[0]->barrier(), CommError);
}

TEST(ThreadWorld, EveryoneArrivesSaysWhenSomebodyDoesNot) {
  const auto world = make_threads(2, kTestTimeoutSeconds);
  EXPECT_FALSE(world[0]->everyone_arrives(0.02));
}

TEST(ThreadWorld, EveryoneArrivesIsNotMetByAnotherCollective) {
  const auto outcomes = outcomes_of_ranks(3, [](Communicator& c) {
    if (c.rank() == 0) return c.barrier();
    EXPECT_FALSE(c.everyone_arrives(kTestTimeoutSeconds));
  });
  EXPECT_NE(message_of_outcome<CommError>(outcomes[0]), "no error");
}

// Otherwise a rank would take the numbers of one collective for those of another.
TEST(ThreadWorld, DifferentCollectivesDoNotMix) {
  for (const auto& outcome : outcomes_of_ranks(3, [](Communicator& c) {
         if (c.rank() == 2) return c.barrier();
         c.all_reduce_sum(at::zeros({20}));
       })) {
    const std::string message = message_of_outcome<CommError>(outcome);
    EXPECT_THAT(message, HasSubstr("all_reduce_sum"));
    EXPECT_THAT(message, HasSubstr("barrier of rank 2"));
  }
}

TEST(ThreadWorld, DifferentSizesDoNotMix) {
  for (const auto& outcome : outcomes_of_ranks(
           2, [](Communicator& c) { c.all_reduce_sum(at::zeros({20 + c.rank()})); })) {
    const std::string message = message_of_outcome<CommError>(outcome);
    EXPECT_THAT(message, HasSubstr("80 bytes"));
    EXPECT_THAT(message, HasSubstr("84 bytes"));
  }
  for (const auto& outcome : outcomes_of_ranks(2, [](Communicator& c) {
         c.all_reduce_sum(at::zeros({4}, c.rank() == 0 ? at::kFloat : at::kDouble));
       })) {
    EXPECT_NE(message_of_outcome<CommError>(outcome), "no error");
  }
  for (const auto& outcome :
       outcomes_of_ranks(2, [](Communicator& c) { c.broadcast(at::zeros({4}), c.rank()); })) {
    EXPECT_THAT(message_of_outcome<CommError>(outcome), HasSubstr("broadcast"));
  }
}

}  // namespace
}  // namespace limbic::parallel

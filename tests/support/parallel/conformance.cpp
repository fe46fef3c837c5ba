#include "tests/support/parallel/conformance.h"

#include <array>
#include <cmath>
#include <cstring>
#include <thread>

#include "trainer/base/error.h"
#include "trainer/base/seed.h"
#include "trainer/parallel/collectives.h"

namespace limbic::parallel {
namespace {

constexpr std::array kSummed = {at::kFloat, at::kDouble, at::kBFloat16, at::kLong};
constexpr std::array kMoved = {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf,         at::kLong,
                               at::kInt,   at::kByte,   at::kBool,     at::kComplexDouble};
// Nothing, odd ones that no number of ranks divides, and more than transports send at once.
constexpr std::array<std::int64_t, 5> kCounts = {0, 1, 5, 1001, 20'011};
constexpr double kPatienceSeconds = 30.0;

std::string named(const char* call, std::int64_t count, at::ScalarType type) {
  return fmt::format("{} of {} elements of {}", call, count, c10::toString(type));
}

bool same_bits(const at::Tensor& got, const at::Tensor& want) {
  const at::Tensor host = got.cpu();
  return host.scalar_type() == want.scalar_type() && host.sizes() == want.sizes() &&
         (host.numel() == 0 || std::memcmp(host.data_ptr(), want.data_ptr(), host.nbytes()) == 0);
}

at::Tensor sum_in_rank_order(int ranks, std::int64_t count, at::ScalarType type) {
  at::Tensor sum = values_of(0, count, type).to(sum_type(type));
  for (int r = 1; r < ranks; ++r) sum += values_of(r, count, type);
  return sum.to(type);
}

// Another order rounds differently: by an epsilon of all that was added, for every rank.
bool is_sum(const Checked& checked, const at::Tensor& got, std::int64_t begin, std::int64_t end,
            std::int64_t count) {
  const at::ScalarType type = got.scalar_type();
  const int ranks = checked.communicator.size();
  const at::Tensor want = sum_in_rank_order(ranks, count, type).slice(0, begin, end);
  if (checked.rank_order || type == at::kLong) return same_bits(got, want.contiguous());
  at::Tensor magnitude = at::zeros({end - begin}, at::kDouble);
  for (int r = 0; r < ranks; ++r) {
    magnitude += values_of(r, count, type).slice(0, begin, end).to(at::kDouble).abs();
  }
  const double epsilon =
      type == at::kBFloat16 ? std::exp2(-8) : (type == at::kFloat ? std::exp2(-24) : 1e-15);
  const at::Tensor error = (got.cpu().to(at::kDouble) - want.to(at::kDouble)).abs();
  return (error <= magnitude * (ranks * epsilon)).all().item<bool>();
}

void ranks_are_numbered(const Checked& checked) {
  Communicator& c = checked.communicator;
  const auto ranks = c.all_gather_bytes(std::to_string(c.rank()));
  expect(static_cast<int>(ranks.size()) == c.size(), "size() is the number of ranks");
  for (std::size_t r = 0; r < ranks.size(); ++r) expect(ranks[r] == std::to_string(r), "rank()");
}

// The sum and not the average, to the last bit where that is promised.
void all_reduce_adds(const Checked& checked) {
  Communicator& c = checked.communicator;
  for (const at::ScalarType type : kSummed) {
    for (const std::int64_t count : kCounts) {
      const at::Tensor tensor = values_of(c.rank(), count, type).to(checked.device);
      c.all_reduce_sum(tensor);
      expect(is_sum(checked, tensor, 0, count, count), named("all_reduce_sum", count, type));
      const std::string mine(static_cast<const char*>(tensor.cpu().data_ptr()), tensor.nbytes());
      for (const std::string& theirs : c.all_gather_bytes(mine)) {
        expect(theirs == mine, "the ranks have other bits: " + named("sums", count, type));
      }
    }
  }
  const at::Tensor table = at::full({7, 3}, 2.0, checked.device);
  c.all_reduce_sum(table);
  expect(same_bits(table, at::full({7, 3}, 2.0 * c.size())), "all_reduce_sum of a matrix");
}

void reduce_scatter_gives_shares(const Checked& checked) {
  Communicator& c = checked.communicator;
  for (const at::ScalarType type : kSummed) {
    for (const std::int64_t count : kCounts) {
      const std::int64_t whole = count * c.size();
      const at::Tensor before = values_of(c.rank(), whole, type);
      const at::Tensor input = before.clone().to(checked.device);
      const at::Tensor output = at::zeros({count}, type).to(checked.device);
      c.reduce_scatter_sum(input, output);
      const std::string what = named("reduce_scatter_sum", count, type);
      expect(is_sum(checked, output, c.rank() * count, (c.rank() + 1) * count, whole), what);
      expect(same_bits(input, before), what + " changed its input");
    }
  }
}

at::Tensor numbers(int rank, std::int64_t count, at::ScalarType type) {
  return (at::arange(count) * 3 + 10 * rank).remainder(type == at::kBool ? 2 : 120).to(type);
}

void all_gather_keeps_the_order(const Checked& checked) {
  Communicator& c = checked.communicator;
  for (const at::ScalarType type : kMoved) {
    for (const std::int64_t count : kCounts) {
      at::Tensor want = at::empty({c.size(), count}, type);
      for (int r = 0; r < c.size(); ++r) want[r].copy_(numbers(r, count, type));
      const at::Tensor mine = want[c.rank()].to(checked.device);
      const at::Tensor all = at::zeros({c.size(), count}, type).to(checked.device);
      c.all_gather(mine, all);
      expect(same_bits(all, want), named("all_gather", count, type));
      // The input may be the own shard of the output.
      const at::Tensor again = at::zeros({c.size(), count}, type).to(checked.device);
      again[c.rank()].copy_(mine);
      c.all_gather(again[c.rank()], again);
      expect(same_bits(again, want), named("all_gather in place", count, type));
    }
  }
}

void broadcast_comes_from_every_root(const Checked& checked) {
  Communicator& c = checked.communicator;
  for (const at::ScalarType type : kMoved) {
    for (const std::int64_t count : kCounts) {
      for (int root = 0; root < c.size(); ++root) {
        const at::Tensor tensor = numbers(c.rank() + 1, count, type).to(checked.device);
        c.broadcast(tensor, root);
        expect(same_bits(tensor, numbers(root + 1, count, type)), named("broadcast", count, type));
      }
    }
  }
}

std::string text_of(int rank) {
  if (rank == 0) return std::string("a\0b\xff", 4);
  return rank == 1 ? "" : std::string(static_cast<std::size_t>(70'001 * rank), 'a');
}

void bytes_have_their_lengths(const Checked& checked) {
  Communicator& c = checked.communicator;
  const auto all = c.all_gather_bytes(text_of(c.rank()));
  for (int r = 0; r < c.size(); ++r) {
    expect(all.at(static_cast<std::size_t>(r)) == text_of(r), "all_gather_bytes");
  }
  for (const std::string& none : c.all_gather_bytes("")) expect(none.empty(), "nothing gathered");
}

// Something to do that takes some `units` of 50 microseconds.
void dawdle(int units) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(50) * units;
  while (std::chrono::steady_clock::now() < end) std::this_thread::yield();
}

// Every rank is first, last and in between, and nobody takes one call for the next.
void ranks_come_in_any_order(const Checked& checked) {
  Communicator& c = checked.communicator;
  for (int round = 0; round < 40; ++round) {
    dawdle((c.rank() * 3 + round) % (c.size() + 1));
    const at::Tensor sum = at::full({3}, round + c.rank(), at::kDouble).to(checked.device);
    c.all_reduce_sum(sum);
    const double want = c.size() * round + c.size() * (c.size() - 1) / 2.0;
    expect(sum[2].item<double>() == want, fmt::format("sum {} in a row", round));
    const auto texts = c.all_gather_bytes(std::to_string(round * 10 + c.rank()));
    expect(texts.back() == std::to_string(round * 10 + c.size() - 1), "texts in a row");
    if (round % 3 == 0) c.barrier();
  }
}

template <class E, class Call>
void expect_throws(const std::string& what, Call call) {
  try {
    call();
  } catch (const E&) {
    return;
  }
  throw WrongResult("went through: " + what);
}

void mistakes_are_of_one_rank(const Checked& checked) {
  Communicator& c = checked.communicator;
  const auto zeros = [&](std::int64_t count, at::ScalarType type = at::kFloat) {
    return at::zeros({count}, type).to(checked.device);
  };
  expect_throws<std::logic_error>("a tensor with gaps", [&] {
    c.all_reduce_sum(zeros(16).view({4, 4}).t());
  });
  expect_throws<std::logic_error>("a sum of int32", [&] { c.all_reduce_sum(zeros(4, at::kInt)); });
  expect_throws<std::logic_error>("uneven shards",
                                  [&] { c.reduce_scatter_sum(zeros(4 * c.size() + 1), zeros(4)); });
  expect_throws<std::logic_error>("a large gather",
                                  [&] { c.all_gather(zeros(4), zeros(4 * c.size() + 1)); });
  expect_throws<std::logic_error>("a root too many", [&] { c.broadcast(zeros(4), c.size()); });
  c.barrier();  // nobody was left behind
}

// All ranks hear of it, none gets wrong numbers, and the world goes on.
void different_calls_are_named(const Checked& checked) {
  Communicator& c = checked.communicator;
  if (c.size() == 1) return;
  const auto ones = [&](std::int64_t count, at::ScalarType type = at::kFloat) {
    return at::ones({count}, type).to(checked.device);
  };
  const bool odd = c.rank() == c.size() - 1;
  try {
    odd ? c.barrier() : c.all_reduce_sum(ones(20));
    throw WrongResult("a sum went through a barrier");
  } catch (const CommError& error) {
    expect(error.what() == fmt::format("all_reduce_sum (80 bytes of Float) of rank 0 met barrier "
                                       "of rank {}",
                                       c.size() - 1),
           fmt::format("got '{}'", error.what()));
  }
  expect_throws<CommError>("other sizes", [&] { c.all_reduce_sum(ones(odd ? 21 : 20)); });
  expect_throws<CommError>(
      "other types", [&] { c.all_reduce_sum(ones(odd ? 4 : 8, odd ? at::kDouble : at::kFloat)); });
  expect_throws<CommError>("other roots", [&] { c.broadcast(ones(4), odd ? 1 : 0); });
  expect_throws<CommError>("other gathers", [&] {
    const std::int64_t count = odd ? 3 : 4;
    c.all_gather(ones(count), ones(count * c.size()));
  });
  c.barrier();
}

void small_collectives_hold(const Checked& checked) {
  Communicator& c = checked.communicator;
  const double ranks = c.size();
  const double rank = c.rank();
  expect(sum(c, {1.0, rank}) == std::vector<double>{ranks, ranks * (ranks - 1) / 2}, "sum");
  expect(max(c, {-rank, rank}) == std::vector<double>{0.0, ranks - 1}, "max");
  expect(broadcast_text(c, fmt::format("from {}", c.rank())) == "from 0", "broadcast_text");
  const auto fail_on_the_last = [&] {
    together(c, [&] {
      if (c.rank() == c.size() - 1) throw DataError("no such file");
    });
  };
  expect_throws<DataError>("together after a failure", fail_on_the_last);
}

// Members and bits of groups, between calls of the whole.
void groups_are_worlds(const Checked& checked) {
  Communicator& c = checked.communicator;
  const std::array<int (*)(int), 3> colors = {[](int) { return 7; }, [](int r) { return r % 2; },
                                              [](int r) { return r; }};
  for (const auto color : colors) {
    const auto group = c.split(color(c.rank()));
    std::vector<int> members;
    for (int r = 0; r < c.size(); ++r) {
      if (color(r) == color(c.rank())) members.push_back(r);
    }
    expect(group->size() == static_cast<int>(members.size()), "size of a group");
    expect(members[static_cast<std::size_t>(group->rank())] == c.rank(), "rank in a group");
    const at::Tensor mine = values_of(c.rank(), 1001, at::kDouble).to(checked.device);
    const at::Tensor all = at::empty({group->size(), 1001}, mine.options());
    group->all_gather(mine, all);
    at::Tensor sum = mine.clone();
    group->all_reduce_sum(sum);
    at::Tensor want = at::zeros({1001}, at::kDouble);
    for (std::size_t i = 0; i < members.size(); ++i) {
      const at::Tensor theirs = values_of(members[i], 1001, at::kDouble);
      expect(same_bits(all[static_cast<std::int64_t>(i)].contiguous(), theirs), "order in a group");
      want += theirs;
    }
    expect(at::allclose(sum.cpu(), want, 1e-12, 1e-12), "sum of a group");
    expect(parallel::sum(c, {1.0})[0] == c.size(), "the whole world after its groups");
    expect(parallel::sum(*group, {1.0})[0] == group->size(), "a group after the whole world");
  }
}

void everyone_arrives(const Checked& checked) {
  expect(checked.communicator.everyone_arrives(kPatienceSeconds), "everyone_arrives");
}

constexpr std::array kChecks = {
    Check{"ranks are numbered", ranks_are_numbered},
    Check{"all_reduce_sum adds", all_reduce_adds},
    Check{"reduce_scatter_sum gives shares", reduce_scatter_gives_shares},
    Check{"all_gather keeps the order", all_gather_keeps_the_order},
    Check{"broadcast comes from every root", broadcast_comes_from_every_root},
    Check{"bytes have their lengths", bytes_have_their_lengths},
    Check{"ranks come in any order", ranks_come_in_any_order},
    Check{"mistakes are of one rank", mistakes_are_of_one_rank},
    Check{"different calls are named", different_calls_are_named},
    Check{"small collectives hold", small_collectives_hold},
    Check{"groups are worlds", groups_are_worlds},
    Check{"everyone arrives", everyone_arrives},
};

}  // namespace

void expect(bool right, const std::string& what) {
  if (!right) throw WrongResult(what);
}

std::span<const Check> conformance_checks() { return kChecks; }

at::Tensor values_of(int rank, std::int64_t count, at::ScalarType type) {
  const at::Tensor index = at::arange(count, at::kDouble) + 0.37 * (rank + 1);
  return (at::sin(index * 12.9898) * at::pow(2.0, at::remainder(index, 40.0))).to(type);
}

}  // namespace limbic::parallel

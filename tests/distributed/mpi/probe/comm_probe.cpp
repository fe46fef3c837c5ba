// One rank of a small MPI job, for the tests: `mpirun -n N comm_probe MODE [RANK]`.
// Exit code 0 when everything held, 1 when a result was wrong, 76 after a CommError.
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>
#include <stdexcept>
#include <thread>

#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/base/seed.h"
#include "trainer/parallel/collectives.h"

namespace limbic::parallel {
namespace {

struct WrongResult : std::runtime_error {
  using std::runtime_error::runtime_error;
};

void expect(bool right, const std::string& what) {
  if (!right) throw WrongResult(what);
}

// What rank `rank` puts in: any rank can make any other's, and so knows the right answer. Values of
// very different size, so that another order of summing gives other bits.
at::Tensor values_of(int rank, std::int64_t count, at::ScalarType type) {
  Random random(derive_seed(7, "probe", rank, count));
  at::Tensor values = at::empty({count}, at::kDouble);
  auto* data = values.data_ptr<double>();
  for (std::int64_t i = 0; i < count; ++i) {
    data[i] = (random.uniform() - 0.5) * std::exp2(static_cast<double>(random.below(40)));
  }
  return values.to(type);
}

at::Tensor sum_in_rank_order(int ranks, std::int64_t count, at::ScalarType type) {
  at::Tensor sum = values_of(0, count, type);
  for (int r = 1; r < ranks; ++r) sum += values_of(r, count, type);
  return sum;
}

void check_sums(Communicator& comm, std::int64_t count, at::ScalarType type) {
  const std::string what = fmt::format("{} elements of {}", count, c10::toString(type));
  const std::int64_t whole = count * comm.size();
  const at::Tensor right = sum_in_rank_order(comm.size(), whole, type);
  const at::Tensor mine = values_of(comm.rank(), whole, type);
  at::Tensor all = mine.clone();
  comm.all_reduce_sum(all);
  expect(at::equal(all, right), "all_reduce_sum of " + what);

  at::Tensor shard = at::empty({count}, type);
  comm.reduce_scatter_sum(mine, shard);
  expect(at::equal(shard, right.slice(0, comm.rank() * count, (comm.rank() + 1) * count)),
         "reduce_scatter_sum of " + what);

  at::Tensor gathered = at::zeros({whole}, type);
  comm.all_gather(shard, gathered);
  expect(at::equal(gathered, right), "all_gather of " + what);

  at::Tensor in_place = at::zeros({whole}, type);
  at::Tensor own = in_place.slice(0, comm.rank() * count, (comm.rank() + 1) * count);
  own.copy_(shard);
  comm.all_gather(own, in_place);
  expect(at::equal(in_place, right), "all_gather in place of " + what);
}

void check_broadcasts(Communicator& comm) {
  for (const at::ScalarType type : {at::kByte, at::kHalf, at::kBFloat16, at::kFloat, at::kLong,
                                    at::kComplexDouble, at::kBool}) {
    for (int root = 0; root < comm.size(); ++root) {
      const at::Tensor right = at::arange(1001).add(root).remainder(2).to(type);
      at::Tensor tensor = comm.rank() == root ? right.clone() : at::zeros({1001}, type);
      comm.broadcast(tensor, root);
      expect(at::equal(tensor, right), fmt::format("broadcast of {}", c10::toString(type)));
    }
  }
}

std::string text_of(int rank) {
  return rank == 1 ? std::string() : std::string(static_cast<std::size_t>(100'000 * rank + 3), 'a');
}

void check_small(Communicator& comm) {
  const std::vector<std::string> texts = comm.all_gather_bytes(text_of(comm.rank()));
  expect(static_cast<int>(texts.size()) == comm.size(), "all_gather_bytes: ranks");
  for (int r = 0; r < comm.size(); ++r) {
    expect(texts[static_cast<std::size_t>(r)] == text_of(r), "all_gather_bytes");
  }
  comm.barrier();
  const double ranks = comm.size();
  const double rank = comm.rank();
  expect(sum(comm, {1.0, rank}) == std::vector<double>{ranks, ranks * (ranks - 1) / 2}, "sum");
  expect(max(comm, {-rank, rank}) == std::vector<double>{0.0, ranks - 1}, "max");
  expect(broadcast_text(comm, fmt::format("from {}", comm.rank())) == "from 0", "broadcast_text");
  try {
    together(comm, [&] {
      if (comm.rank() == comm.size() - 1) throw DataError("no such file");
    });
    throw WrongResult("together: a rank failed and this one went on");
  } catch (const DataError& error) {
    expect(std::string(error.what()).ends_with("no such file"), "together: message");
  }
}

void check_all(Communicator& comm) {
  // Small and large ways of summing, and counts that no number of ranks divides.
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    for (const std::int64_t count : {0, 1, 5, 1000, 70'001}) check_sums(comm, count, type);
  }
  check_broadcasts(comm);
  check_small(comm);
  expect(comm.everyone_arrives(30.0), "everyone_arrives");
  if (comm.rank() == 0) std::cout << "all right\n";
}

// The bits of sums of all kinds of sizes.
void print_digest(Communicator& comm) {
  std::string bits;
  for (const std::int64_t count : {3, 999, 100'003, 1'000'000}) {
    at::Tensor all = values_of(comm.rank(), count, at::kFloat);
    comm.all_reduce_sum(all);
    bits += sha256({static_cast<const char*>(all.data_ptr()), all.nbytes()});
  }
  for (const std::string& theirs : comm.all_gather_bytes(bits)) {
    expect(theirs == bits, "the ranks have different bits");
  }
  if (comm.rank() == 0) std::cout << sha256(bits) << "\n";
}

// Rank `odd` computes for a while; what the others spend on waiting for it.
void print_waiting_cost(Communicator& comm, int odd) {
  comm.barrier();
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  if (comm.rank() == odd) std::this_thread::sleep_for(std::chrono::seconds(2));
  comm.barrier();
  getrusage(RUSAGE_SELF, &after);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  const double spent = seconds(after.ru_utime) + seconds(after.ru_stime) -
                       seconds(before.ru_utime) - seconds(before.ru_stime);
  const double most = max(comm, {comm.rank() == odd ? 0.0 : spent})[0];
  if (comm.rank() == 0) std::cout << fmt::format("{:.3f}\n", most);
}

[[noreturn]] void never_come() {
  while (true) ::pause();
}

// Modes that end by an error on purpose.
void fail_in(const std::string& mode, Communicator& comm, int odd) {
  const bool is_odd = comm.rank() == odd;
  at::Tensor ones = at::ones({1000});
  comm.all_reduce_sum(ones);
  if (mode == "die" && is_odd) ::raise(SIGKILL);
  if (mode == "late") comm.set_timeout(0.5);
  if (mode == "late" && is_odd) never_come();
  if (mode == "alone" && is_odd) throw DataError("the disk is full");
  if (mode == "unwind" && is_odd) throw std::bad_alloc();
  if (mode == "mismatch" && is_odd) comm.barrier();
  if (mode == "sizes" && is_odd) ones = at::ones({1001});
  comm.all_reduce_sum(ones);
  throw WrongResult("nothing failed");
}

// What the runner of the world does with an error: ends together or ends the others.
int run_with_communicator(const std::string& mode, int odd) {
  const auto comm = make_mpi(100.0);
  try {
    if (mode == "check") {
      check_all(*comm);
    } else if (mode == "digest") {
      print_digest(*comm);
    } else if (mode == "wait") {
      print_waiting_cost(*comm, odd);
    } else {
      fail_in(mode, *comm, odd);
    }
    return 0;
  } catch (const Error& error) {
    if (!comm->everyone_arrives(2.0)) comm->abort(error.what(), 76);
    // In one write: the ranks share the terminal.
    std::cerr << fmt::format("together: {}\n", error.what());
    return 76;
  }
}

}  // namespace
}  // namespace limbic::parallel

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "check";
  try {
    return limbic::parallel::run_with_communicator(mode, argc > 2 ? std::atoi(argv[2]) : -1);
  } catch (const std::exception& error) {
    std::cerr << "probe: " << error.what() << std::endl;
    return 1;
  }
}

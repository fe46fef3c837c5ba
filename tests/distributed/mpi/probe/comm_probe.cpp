// One rank of a small MPI job, for the tests: `mpirun -n N comm_probe MODE RANK TRANSPORT`.
// TRANSPORT is mpi, pieces (MPI in pieces of a few elements) or nccl (its double, above MPI).
// Exit code 0 when everything held, 1 when a result was wrong, 76 after a CommError.
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <iostream>
#include <thread>

#include "tests/support/nccl/double_rank.h"
#include "tests/support/parallel/conformance.h"
#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/parallel/collectives.h"

namespace limbic::parallel {
namespace {

// The names of the checks that hold, one a line.
void check_all(Communicator& comm) {
  for (const Check& check : conformance_checks()) {
    check.run({.communicator = comm});
    if (comm.rank() == 0) std::cout << check.name << "\n";
  }
}

// More elements than an int counts, of which every rank has a share.
void check_large(Communicator& comm) {
  const std::int64_t share = (std::int64_t{1} << 31) / comm.size() + 5;
  const at::Tensor all = at::empty({share * comm.size()}, at::kByte);
  const auto shard = [&](int rank) { return all.slice(0, share * rank, share * (rank + 1)); };
  shard(comm.rank()).fill_(comm.rank() + 1);
  comm.all_gather(shard(comm.rank()), all);
  for (int r = 0; r < comm.size(); ++r) {
    expect(shard(r).max().item<int>() == r + 1 && shard(r).min().item<int>() == r + 1,
           "all_gather of more than 2^31 elements");
  }
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
  if (mode == "stuck") test::nccl_double().set_fault(test::NcclFault::kNeverEnds, odd, 2);
  if (mode == "stuck") comm.set_timeout(0.5);
  if (mode == "broken") test::nccl_double().set_fault(test::NcclFault::kFailsOnTheWay, odd, 2);
  comm.all_reduce_sum(ones);
  throw WrongResult("nothing failed");
}

void run_mode(const std::string& mode, Communicator& comm, int odd) {
  if (mode == "check") return check_all(comm);
  if (mode == "large") return check_large(comm);
  if (mode == "digest") return print_digest(comm);
  if (mode == "wait") return print_waiting_cost(comm, odd);
  fail_in(mode, comm, odd);
}

// What the runner of the world does with an error: ends together or ends the others.
int run_with_communicator(const std::string& mode, int odd, const std::string& transport) {
  const std::int64_t piece_bytes = transport == "pieces" ? 1000 : 64 << 20;
  const auto comm = make_mpi(100.0, piece_bytes);
  try {
    if (transport == "nccl") {
      run_mode(mode, *test::make_double_rank(*comm, 100.0), odd);
    } else {
      run_mode(mode, *comm, odd);
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
  if (argc != 4) return 2;
  try {
    return limbic::parallel::run_with_communicator(argv[1], std::atoi(argv[2]), argv[3]);
  } catch (const std::exception& error) {
    std::cerr << "probe: " << error.what() << std::endl;
    return 1;
  }
}

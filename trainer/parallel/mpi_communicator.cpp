// Ranks started by mpirun or srun. Every collective is the non-blocking call plus a wait that gives
// the processor away and ends with the timeout, because MPI's own wait does neither.
#include <mpi.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <limits>
#include <thread>

#include "trainer/base/error.h"
#include "trainer/parallel/communicator.h"

namespace limbic::parallel {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kSpin = std::chrono::microseconds(200);  // most collectives end within it
constexpr auto kNap = std::chrono::microseconds(200);
constexpr std::int64_t kLargestCount = std::numeric_limits<int>::max();

MPI_Datatype type_of(const at::Tensor& tensor) {
  if (tensor.scalar_type() == at::kFloat) return MPI_FLOAT;
  check(tensor.scalar_type() == at::kDouble, "sums are over float32 or float64");
  return MPI_DOUBLE;
}

int count_of(std::int64_t elements) {
  if (elements > kLargestCount) {
    throw CommError(
        fmt::format("got a message of {} elements, want at most {}", elements, kLargestCount));
  }
  return static_cast<int>(elements);
}

class MpiCommunicator final : public Communicator {
 public:
  explicit MpiCommunicator(double timeout_s) : timeout_s_(timeout_s) {
    int provided = 0;
    if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) {
      throw CommError("MPI: got no answer of the launcher, want mpirun or srun");
    }
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
  }
  // A rank that leaves by an error alone must not wait for the others in MPI_Finalize.
  ~MpiCommunicator() override {
    if (!broken_) MPI_Finalize();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void all_reduce_sum(at::Tensor tensor) override {
    check(tensor.is_contiguous(), "collectives take contiguous tensors");
    finish("all_reduce_sum", [&](MPI_Request* request) {
      return MPI_Iallreduce(MPI_IN_PLACE, tensor.data_ptr(), count_of(tensor.numel()),
                            type_of(tensor), MPI_SUM, MPI_COMM_WORLD, request);
    });
  }
  void reduce_scatter_sum(const at::Tensor& input, at::Tensor output) override {
    check(input.is_contiguous() && output.is_contiguous(), "collectives take contiguous tensors");
    check(input.numel() == output.numel() * size_, "reduce_scatter sizes");
    finish("reduce_scatter_sum", [&](MPI_Request* request) {
      return MPI_Ireduce_scatter_block(input.data_ptr(), output.data_ptr(),
                                       count_of(output.numel()), type_of(output), MPI_SUM,
                                       MPI_COMM_WORLD, request);
    });
  }
  void all_gather(const at::Tensor& input, at::Tensor output) override {
    check(input.is_contiguous() && output.is_contiguous(), "collectives take contiguous tensors");
    check(output.numel() == input.numel() * size_, "all_gather sizes");
    const int bytes = count_of(static_cast<std::int64_t>(input.nbytes()));
    finish("all_gather", [&](MPI_Request* request) {
      return MPI_Iallgather(input.data_ptr(), bytes, MPI_BYTE, output.data_ptr(), bytes, MPI_BYTE,
                            MPI_COMM_WORLD, request);
    });
  }
  void broadcast(at::Tensor tensor, int root) override {
    check(tensor.is_contiguous(), "collectives take contiguous tensors");
    finish("broadcast", [&](MPI_Request* request) {
      return MPI_Ibcast(tensor.data_ptr(), count_of(static_cast<std::int64_t>(tensor.nbytes())),
                        MPI_BYTE, root, MPI_COMM_WORLD, request);
    });
  }
  void barrier() override {
    finish("barrier", [](MPI_Request* request) { return MPI_Ibarrier(MPI_COMM_WORLD, request); });
  }
  bool everyone_arrives(double seconds) override {
    MPI_Request request = MPI_REQUEST_NULL;
    if (broken_ || MPI_Ibarrier(MPI_COMM_WORLD, &request) != MPI_SUCCESS) return false;
    const bool arrived = wait(request, seconds);
    broken_ = !arrived;
    return arrived;
  }
  void set_timeout(double seconds) override { timeout_s_ = seconds; }

  std::vector<std::string> all_gather_bytes(const std::string& mine) override {
    const auto ranks = static_cast<std::size_t>(size_);
    const int length = count_of(static_cast<std::int64_t>(mine.size()));
    std::vector<int> lengths(ranks), offsets(ranks, 0);
    finish("all_gather_bytes", [&](MPI_Request* request) {
      return MPI_Iallgather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, MPI_COMM_WORLD,
                            request);
    });
    std::int64_t total = 0;
    for (std::size_t r = 0; r < ranks; ++r) {
      offsets[r] = count_of(total);
      total += lengths[r];
    }
    std::string all(static_cast<std::size_t>(count_of(total)), '\0');
    finish("all_gather_bytes", [&](MPI_Request* request) {
      return MPI_Iallgatherv(mine.data(), length, MPI_BYTE, all.data(), lengths.data(),
                             offsets.data(), MPI_BYTE, MPI_COMM_WORLD, request);
    });
    std::vector<std::string> parts;
    for (std::size_t r = 0; r < ranks; ++r) {
      parts.push_back(
          all.substr(static_cast<std::size_t>(offsets[r]), static_cast<std::size_t>(lengths[r])));
    }
    return parts;
  }

  void abort(const std::string& reason, int code) override {
    std::cerr << fmt::format("error: rank {}: {}\n", rank_, reason) << std::flush;
    MPI_Abort(MPI_COMM_WORLD, code);
    std::_Exit(code);
  }

 private:
  // Starts a collective and waits for it.
  template <class Start>
  void finish(const char* what, Start start) {
    MPI_Request request = MPI_REQUEST_NULL;
    if (broken_) throw CommError(fmt::format("rank {}: {} after contact was lost", rank_, what));
    if (start(&request) != MPI_SUCCESS) {
      broken_ = true;
      throw CommError(fmt::format("rank {}: {}: MPI refused", rank_, what));
    }
    if (wait(request, timeout_s_)) return;
    broken_ = true;
    throw CommError(
        fmt::format("rank {}: {}: another rank did not answer within {} s "
                    "(parallel.timeout_s)",
                    rank_, what, timeout_s_));
  }

  // False when the time passed or the transport failed.
  static bool wait(MPI_Request& request, double seconds) {
    const auto begin = Clock::now();
    const auto end = begin + std::chrono::duration<double>(seconds);
    while (true) {
      int done = 0;
      if (MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) return false;
      if (done != 0) return true;
      const auto now = Clock::now();
      if (now > end) return false;
      if (now - begin < kSpin) {
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(kNap);
      }
    }
  }

  double timeout_s_;
  int rank_ = 0;
  int size_ = 1;
  bool broken_ = false;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi(double timeout_s) {
  return std::make_unique<MpiCommunicator>(timeout_s);
}

bool started_by_mpi() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

}  // namespace limbic::parallel

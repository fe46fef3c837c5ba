#include "tests/support/nccl/nccl_double.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "trainer/parallel/nccl/api.h"

namespace limbic::test {
namespace {

using parallel::nccl::DataType;
using parallel::nccl::Result;
using parallel::nccl::UniqueId;

constexpr int kMostRanks = 8;
constexpr std::size_t kSlotBytes = 1 << 16;

enum class Kind : std::uint64_t { kAllReduce, kReduceScatter, kAllGather, kBroadcast, kFinalize };

// What all ranks must agree on.
struct Post {
  Kind kind = Kind::kFinalize;
  std::uint64_t count = 0;
  DataType type = DataType::kUint8;
  int root = 0;
  bool operator==(const Post&) const = default;
};

struct Stream {
  std::atomic<int> pending{0};
};

struct Call {
  Post post;
  const void* from = nullptr;
  void* to = nullptr;
  Stream* stream = nullptr;
};

// Begins as zeros.
struct Shared {
  std::atomic<int> attached, arrived, broken;
  std::atomic<std::uint64_t> round;
  std::array<Post, kMostRanks> posts;
  alignas(64) std::array<std::array<char, kSlotBytes>, kMostRanks> slots;
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "shared between processes");

struct Faults {
  std::atomic<NcclFault> fault{NcclFault::kNone};
  std::atomic<int> rank{0}, call{0};
  bool is(NcclFault wanted, int at_rank) const { return fault == wanted && rank == at_rank; }
  bool is(NcclFault wanted, int at_rank, int at_call) const {
    return is(wanted, at_rank) && call == at_call;
  }
};

// The state of the process: there is one of this library.
struct Process {
  Faults faults;
  std::atomic<int> made{0}, destroyed{0}, aborted{0}, ids{0};
};
Process& process() {
  static Process state;
  return state;
}

std::size_t size_of(DataType type) {
  switch (type) {
    case DataType::kUint8:
      return 1;
    case DataType::kBfloat16:
      return 2;
    case DataType::kFloat32:
      return 4;
    default:
      return 8;
  }
}

float widened(std::uint16_t bits) {
  const std::uint32_t wide = std::uint32_t{bits} << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}
// To the nearest, ties to even.
std::uint16_t narrowed(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (std::isnan(value)) return 0x7fc0;
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

class Rank {
 public:
  Rank(Shared* shared, const char* name, int ranks, int rank)
      : shared_(shared), name_(name), ranks_(ranks), rank_(rank) {
    ++process().made;
    worker_ = std::thread([this] { work(); });
  }
  ~Rank() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    worker_.join();
    shm_unlink(name_.c_str());
    munmap(shared_, sizeof(Shared));
  }

  Result state() const { return state_; }
  // Those who wait for this rank hear of it.
  void abort() { shared_->broken = 1; }

  Result take(const Call& call) {
    const std::lock_guard lock(mutex_);
    if (state_ != Result::kSuccess) return state_;
    if (call.post.kind != Kind::kFinalize) {
      if (process().faults.is(NcclFault::kRefuses, rank_, ++calls_)) {
        return Result::kUnhandledCudaError;
      }
      ++call.stream->pending;
    }
    state_ = Result::kInProgress;
    queue_.push_back(call);
    changed_.notify_all();
    return Result::kInProgress;
  }

 private:
  // Ends with the state that stopped it.
  void work() {
    try {
      connect();
      while (true) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return stop_ || !queue_.empty(); });
        if (stop_) return;
        const Call call = queue_.front();
        queue_.pop_front();
        const bool last = call.post.kind == Kind::kFinalize;
        if (!last) state_ = Result::kSuccess;  // it is on the stream
        lock.unlock();
        run(call);
        if (last) state_ = Result::kSuccess;
        if (!last) --call.stream->pending;
      }
    } catch (const Result& failure) {
      const std::lock_guard lock(mutex_);
      state_ = failure;
    }
  }

  void connect() {
    const Faults& faults = process().faults;
    if (faults.is(NcclFault::kInitFails, rank_)) throw Result::kSystemError;
    ++shared_->attached;
    while (shared_->attached < ranks_) {
      const bool gone = shared_->broken != 0;
      if (gone && shared_->attached < ranks_) throw Result::kRemoteError;
      pause();
    }
    while (faults.is(NcclFault::kInitNeverEnds, rank_)) rest();
    shm_unlink(name_.c_str());  // all have it open: nothing is left behind, whatever happens
    state_ = Result::kSuccess;
  }

  void run(const Call& call) {
    const Faults& faults = process().faults;
    if (call.post.kind != Kind::kFinalize) ++run_;
    if (faults.is(NcclFault::kFailsOnTheWay, rank_, run_)) throw Result::kRemoteError;
    while (faults.is(NcclFault::kNeverEnds, rank_, run_)) rest();
    shared_->posts[static_cast<std::size_t>(rank_)] = call.post;
    meet();
    bool same = true;
    for (int r = 0; r < ranks_; ++r) {
      same = same && shared_->posts[static_cast<std::size_t>(r)] == shared_->posts[0];
    }
    meet();
    if (!same) throw Result::kInvalidUsage;
    move(call);
  }

  void move(const Call& call) {
    const std::size_t element = size_of(call.post.type);
    const std::size_t bytes = call.post.count * element;
    const char* from = static_cast<const char*>(call.from);
    char* to = static_cast<char*>(call.to);
    const auto sum_into = [&](char* out) {
      return [this, &call, out](std::size_t begin, std::size_t count) {
        add(call.post.type, out + begin, count);
      };
    };
    const auto nothing = [](std::size_t, std::size_t) {};
    switch (call.post.kind) {
      case Kind::kAllReduce:
        return exchange(from, bytes, sum_into(to));
      case Kind::kReduceScatter:
        for (int r = 0; r < ranks_; ++r) {
          const char* shard = from + static_cast<std::size_t>(r) * bytes;
          r == rank_ ? exchange(shard, bytes, sum_into(to)) : exchange(shard, bytes, nothing);
        }
        return;
      case Kind::kAllGather:
        return exchange(from, bytes, [&](std::size_t begin, std::size_t count) {
          for (std::size_t r = 0; r < static_cast<std::size_t>(ranks_); ++r) {
            std::memcpy(to + r * bytes + begin, shared_->slots[r].data(), count);
          }
        });
      case Kind::kBroadcast:
        return exchange(rank_ == call.post.root ? from : nullptr, bytes,
                        [&](std::size_t begin, std::size_t count) {
                          const auto root = static_cast<std::size_t>(call.post.root);
                          std::memcpy(to + begin, shared_->slots[root].data(), count);
                        });
      case Kind::kFinalize:
        return;
    }
  }

  // Piece by piece: everybody shows `from` (null shows nothing), everybody reads.
  template <class Read>
  void exchange(const char* from, std::size_t bytes, Read read) {
    for (std::size_t begin = 0; begin < bytes; begin += kSlotBytes) {
      const std::size_t count = std::min(kSlotBytes, bytes - begin);
      auto& slot = shared_->slots[static_cast<std::size_t>(rank_)];
      if (from != nullptr) std::memcpy(slot.data(), from + begin, count);
      meet();
      read(begin, count);
      meet();
    }
  }

  void add(DataType type, char* to, std::size_t bytes) const {
    if (type == DataType::kFloat32) return add_as<float>(to, bytes);
    if (type == DataType::kFloat64) return add_as<double>(to, bytes);
    if (type == DataType::kInt64) return add_as<std::int64_t>(to, bytes);
    if (type != DataType::kBfloat16) throw Result::kInvalidArgument;
    for (std::size_t at = 0; at < bytes; at += sizeof(std::uint16_t)) {
      float sum = 0.0f;
      for (int r = 0; r < ranks_; ++r) sum += widened(value<std::uint16_t>(r, at));
      const std::uint16_t rounded = narrowed(sum);
      std::memcpy(to + at, &rounded, sizeof rounded);
    }
  }
  template <class T>
  void add_as(char* to, std::size_t bytes) const {
    for (std::size_t at = 0; at < bytes; at += sizeof(T)) {
      T sum = value<T>(0, at);
      for (int r = 1; r < ranks_; ++r) sum += value<T>(r, at);
      std::memcpy(to + at, &sum, sizeof sum);
    }
  }
  template <class T>
  T value(int rank, std::size_t at) const {
    T out;
    std::memcpy(&out, shared_->slots[static_cast<std::size_t>(rank)].data() + at, sizeof out);
    return out;
  }

  void meet() const {
    const std::uint64_t round = shared_->round;
    if (shared_->arrived.fetch_add(1) + 1 == ranks_) {
      shared_->arrived = 0;
      ++shared_->round;
      return;
    }
    while (shared_->round == round) rest();
  }
  // A pause in a wait, which ends when the rank is to stop or another one is gone.
  void rest() const {
    if (shared_->broken != 0) throw Result::kRemoteError;
    pause();
  }
  void pause() const {
    if (stop_) throw Result::kInternalError;
    std::this_thread::yield();
  }

  Shared* shared_;
  std::string name_;
  int ranks_, rank_;
  int calls_ = 0, run_ = 0;  // taken and begun
  std::atomic<Result> state_{Result::kInProgress};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Call> queue_;
  std::thread worker_;
};

Shared* shared_memory(const char* name, int flags) {
  const int file = shm_open(name, O_RDWR | flags, 0600);
  if (file < 0) return nullptr;
  void* memory = MAP_FAILED;
  if (ftruncate(file, sizeof(Shared)) == 0) {
    memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  }
  close(file);
  return memory == MAP_FAILED ? nullptr : static_cast<Shared*>(memory);
}

Rank* rank_of(void* comm) { return static_cast<Rank*>(comm); }

Result take(void* comm, const Post& post, const void* from, void* to, void* stream) {
  if (comm == nullptr || stream == nullptr) return Result::kInvalidArgument;
  return rank_of(comm)->take(
      {.post = post, .from = from, .to = to, .stream = static_cast<Stream*>(stream)});
}

}  // namespace
}  // namespace limbic::test

using limbic::parallel::nccl::Config;
using limbic::parallel::nccl::Operation;
using namespace limbic::test;

extern "C" {

Result ncclGetVersion(int* version) {
  *version = process().faults.fault == NcclFault::kOldVersion ? 21003 : 22809;
  return Result::kSuccess;
}

Result ncclGetUniqueId(UniqueId* id) {
  if (process().faults.fault == NcclFault::kNoId) return Result::kSystemError;
  snprintf(id->internal, sizeof id->internal, "/nccl-double-%d-%d", getpid(), ++process().ids);
  Shared* shared = shared_memory(id->internal, O_CREAT | O_EXCL);
  if (shared == nullptr) return Result::kSystemError;
  munmap(shared, sizeof(Shared));
  return Result::kSuccess;
}

Result ncclCommInitRankConfig(void** comm, int ranks, UniqueId id, int rank, Config* config) {
  const bool sound = config->magic == 0xcafebeef && config->size >= sizeof(Config);
  if (!sound || config->blocking != 0 || ranks > kMostRanks) return Result::kInvalidArgument;
  Shared* shared = shared_memory(id.internal, 0);
  if (shared == nullptr) return Result::kSystemError;
  *comm = std::make_unique<Rank>(shared, id.internal, ranks, rank).release();
  return Result::kInProgress;
}

Result ncclCommFinalize(void* comm) { return rank_of(comm)->take({}); }

Result ncclCommDestroy(void* comm) {
  delete rank_of(comm);
  ++process().destroyed;
  return Result::kSuccess;
}

Result ncclCommAbort(void* comm) {
  rank_of(comm)->abort();
  delete rank_of(comm);
  ++process().aborted;
  return Result::kSuccess;
}

Result ncclCommGetAsyncError(void* comm, Result* state) {
  *state = rank_of(comm)->state();
  return Result::kSuccess;
}

const char* ncclGetErrorString(Result result) {
  switch (result) {
    case Result::kUnhandledCudaError:
      return "unhandled cuda error";
    case Result::kSystemError:
      return "unhandled system error";
    case Result::kInvalidUsage:
      return "invalid usage";
    case Result::kRemoteError:
      return "remote process exited or there was a network error";
    default:
      return "another error";
  }
}

const char* ncclGetLastError(void*) { return "said by the double"; }

Result ncclAllReduce(const void* from, void* to, std::size_t count, DataType type,
                     Operation operation, void* comm, void* stream) {
  if (operation != Operation::kSum) return Result::kInvalidArgument;
  return take(comm, {.kind = Kind::kAllReduce, .count = count, .type = type}, from, to, stream);
}

Result ncclReduceScatter(const void* from, void* to, std::size_t count, DataType type,
                         Operation operation, void* comm, void* stream) {
  if (operation != Operation::kSum) return Result::kInvalidArgument;
  return take(comm, {.kind = Kind::kReduceScatter, .count = count, .type = type}, from, to, stream);
}

Result ncclAllGather(const void* from, void* to, std::size_t count, DataType type, void* comm,
                     void* stream) {
  return take(comm, {.kind = Kind::kAllGather, .count = count, .type = type}, from, to, stream);
}

Result ncclBroadcast(const void* from, void* to, std::size_t count, DataType type, int root,
                     void* comm, void* stream) {
  return take(comm, {.kind = Kind::kBroadcast, .count = count, .type = type, .root = root}, from,
              to, stream);
}

void* limbic_double_make_stream() { return std::make_unique<Stream>().release(); }
void limbic_double_free_stream(void* stream) { delete static_cast<Stream*>(stream); }
int limbic_double_stream_done(void* stream) { return static_cast<Stream*>(stream)->pending == 0; }

void limbic_double_set_fault(NcclFault fault, int rank, int call) {
  Faults& faults = process().faults;
  faults.rank = rank;
  faults.call = call;
  faults.fault = fault;
}

NcclCounts limbic_double_counts() {
  return {.made = process().made, .destroyed = process().destroyed, .aborted = process().aborted};
}

}  // extern "C"

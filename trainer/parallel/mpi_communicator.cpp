// Ranks started by mpirun or srun.
//
// A collective has two parts. First all ranks exchange what they are about to do: a short message
// that shows mistakes and that everybody waits for with patience, giving the processor away. Then
// the data moves; all ranks are there, so this wait is short and keeps hold of the processor. Both
// use non-blocking calls, because the waits of MPI itself neither rest nor end.
//
// Sums do not use MPI's reductions, whose order depends on the library, the size and the number of
// ranks: shares are sent to their owner, who adds them in rank order.
//
// MPI counts in ints. So what is large travels in pieces, and the parts of a piece that lie far
// apart are one element each of a type that is as wide as the distance.
#include <mpi.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <iostream>

#include "trainer/base/error.h"
#include "trainer/parallel/call.h"
#include "trainer/parallel/communicator.h"
#include "trainer/parallel/launcher.h"
#include "trainer/parallel/patience.h"

namespace limbic::parallel {
namespace {

using Clock = Patience::Clock;
using std::chrono::milliseconds;

constexpr auto kArrivalYields = milliseconds(1);
constexpr auto kTransferYields = milliseconds(50);
constexpr double kSlowBytesPerSecond = 50e6;  // below it a transfer rests, too

constexpr std::int64_t kSmallBytes = 16 << 10;  // summed by everybody instead of by owners

// The MPI type that moves the elements of a tensor, whatever they mean.
struct Unit {
  MPI_Datatype type;
  std::int64_t bytes;  // of one; a complex number has several
  std::int64_t count;
};
Unit units_of(const at::Tensor& tensor) {
  const auto bytes = static_cast<std::int64_t>(tensor.nbytes());
  switch (tensor.element_size()) {
    case 1:
      return {MPI_UINT8_T, 1, bytes};
    case 2:
      return {MPI_UINT16_T, 2, bytes / 2};
    case 4:
      return {MPI_UINT32_T, 4, bytes / 4};
    default:
      return {MPI_UINT64_T, 8, bytes / 8};
  }
}

// `count` elements of `type` in a row, and the next such row `stride` bytes behind: what MPI sends
// to or takes from rank r lies r strides behind the first.
class Rows {
 public:
  Rows(MPI_Datatype type, int count, std::int64_t stride) {
    MPI_Datatype row;
    MPI_Type_contiguous(count, type, &row);
    MPI_Type_create_resized(row, 0, stride, &type_);
    MPI_Type_commit(&type_);
    MPI_Type_free(&row);
  }
  ~Rows() { MPI_Type_free(&type_); }
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;
  MPI_Datatype type() const { return type_; }

 private:
  MPI_Datatype type_;
};

// Calls f(begin, count) for pieces of at most `step` of `total`.
template <class F>
void over_pieces(std::int64_t total, std::int64_t step, F f) {
  for (std::int64_t begin = 0; begin < total; begin += step) {
    f(begin, static_cast<int>(std::min(step, total - begin)));
  }
}

char* byte_of(const at::Tensor& tensor, std::int64_t offset) {
  return static_cast<char*>(tensor.data_ptr()) + offset;
}

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(double timeout_s, std::int64_t piece_bytes)
      : timeout_s_(timeout_s), piece_bytes_(piece_bytes), exceptions_(std::uncaught_exceptions()) {
    int started = 0;
    MPI_Initialized(&started);
    check(started == 0, "MPI can be initialised only once");
    int provided = 0;
    if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS) {
      throw CommError("MPI: got no answer of the launcher, want mpirun or srun");
    }
    if (provided < MPI_THREAD_SERIALIZED) {
      throw ConfigError("MPI: got a library for one thread, want MPI_THREAD_SERIALIZED");
    }
    measure();
    check(piece_bytes >= static_cast<std::int64_t>(16 * calls_.size()) && piece_bytes <= 1 << 30,
          "pieces hold an element of every rank, and MPI counts their bytes in an int");
  }
  // A group of the ranks of another one.
  MpiCommunicator(const MpiCommunicator& whole, MPI_Comm comm, int color)
      : comm_(comm),
        timeout_s_(whole.timeout_s_),
        piece_bytes_(whole.piece_bytes_),
        exceptions_(std::uncaught_exceptions()),
        group_(fmt::format(" of group {}", color)) {
    measure();
  }
  // A rank that leaves by an error must not wait for the others: without MPI_Finalize the launcher
  // ends them.
  ~MpiCommunicator() override {
    if (std::uncaught_exceptions() > exceptions_ || broken_) return;
    if (comm_ != MPI_COMM_WORLD) {
      MPI_Comm_free(&comm_);
      return;
    }
    if (all_at(CallKind::kFinish, timeout_s_)) MPI_Finalize();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void all_reduce_sum(at::Tensor tensor) override {
    agree(all_reduce_call(tensor));
    held_ = {tensor, {}};
    const at::Tensor flat = tensor.view({-1});
    const auto element = static_cast<std::int64_t>(tensor.element_size());
    over_pieces(flat.numel(), elements_of(element), [&](std::int64_t begin, int count) {
      const at::Tensor piece = flat.slice(0, begin, begin + count);
      const bool small = static_cast<std::int64_t>(piece.nbytes()) <= kSmallBytes;
      small ? sum_everywhere(piece) : sum_at_owners(piece);
    });
    held_ = {};
  }

  void reduce_scatter_sum(const at::Tensor& input, at::Tensor output) override {
    agree(reduce_scatter_call(input, output, size_));
    held_ = {input, output};
    const at::Tensor flat = output.view({-1});
    const auto element = static_cast<std::int64_t>(input.element_size());
    const MPI_Datatype type = units_of(input).type;
    over_pieces(flat.numel(), elements_of(element * size_), [&](std::int64_t begin, int count) {
      const Rows rows(type, count, flat.numel() * element);
      const at::Tensor all = scratch(input.scalar_type(), std::int64_t{count} * size_);
      transfer(all.nbytes(), [&](MPI_Request* request) {
        return MPI_Ialltoall(byte_of(input, begin * element), 1, rows.type(), all.data_ptr(), count,
                             type, comm_, request);
      });
      flat.slice(0, begin, begin + count).copy_(sum_of_rows(all, count));
    });
    held_ = {};
  }

  void all_gather(const at::Tensor& input, at::Tensor output) override {
    agree(all_gather_call(input, output, size_));
    held_ = {input, output};
    const Unit unit = units_of(input);
    const auto bytes = static_cast<std::int64_t>(input.nbytes());
    const bool in_place = input.data_ptr() == byte_of(output, rank_ * bytes);
    over_pieces(unit.count, elements_of(unit.bytes * size_), [&](std::int64_t begin, int count) {
      const std::int64_t offset = begin * unit.bytes;
      const Rows rows(unit.type, count, bytes);
      const void* from = in_place ? MPI_IN_PLACE : byte_of(input, offset);
      transfer(static_cast<std::size_t>(count * unit.bytes * size_), [&](MPI_Request* request) {
        return MPI_Iallgather(from, count, unit.type, byte_of(output, offset), 1, rows.type(),
                              comm_, request);
      });
    });
    held_ = {};
  }

  void broadcast(at::Tensor tensor, int root) override {
    agree(broadcast_call(tensor, root, size_));
    held_ = {tensor, {}};
    const auto bytes = static_cast<std::int64_t>(tensor.nbytes());
    over_pieces(bytes, piece_bytes_, [&](std::int64_t begin, int count) {
      transfer(static_cast<std::size_t>(count), [&](MPI_Request* request) {
        return MPI_Ibcast(byte_of(tensor, begin), count, MPI_BYTE, root, comm_, request);
      });
    });
    held_ = {};
  }

  std::int64_t meet(const Call& call) override {
    agree(call);
    return number_;
  }
  bool everyone_arrives(double seconds) override { return all_at(CallKind::kEnd, seconds); }
  void set_timeout(double seconds) override { timeout_s_ = seconds; }

  std::vector<std::string> all_gather_bytes(const std::string& mine) override {
    agree({.kind = CallKind::kAllGatherBytes, .bytes = static_cast<std::int64_t>(mine.size())});
    std::int64_t longest = 0;
    for (const Call& call : calls_) longest = std::max(longest, call.bytes);
    sent_bytes_ = mine;
    std::vector<std::string> parts(calls_.size());
    over_pieces(longest, piece_bytes_ / size_, [&](std::int64_t begin, int count) {
      gather_piece(begin, count);
      for (std::size_t r = 0; r < parts.size(); ++r) {
        parts[r].append(bytes_, static_cast<std::size_t>(offsets_[r]),
                        static_cast<std::size_t>(counts_[r]));
      }
    });
    return parts;
  }

  std::unique_ptr<Communicator> split(int color) override {
    agree({.kind = CallKind::kSplit});
    MPI_Comm comm = MPI_COMM_NULL;
    if (MPI_Comm_split(comm_, color, rank_, &comm) != MPI_SUCCESS) give_up("MPI made no group");
    return std::make_unique<MpiCommunicator>(*this, comm, color);
  }

  void abort(const std::string& reason, int code) override {
    std::cerr << fmt::format("error: rank {}{}: {}\n", rank_, group_, reason) << std::flush;
    MPI_Abort(MPI_COMM_WORLD, code);
    std::_Exit(code);
  }

 private:
  void measure() {
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
    calls_.resize(static_cast<std::size_t>(size_));
    for (auto* list : {&send_counts_, &send_offsets_, &counts_, &offsets_}) {
      list->resize(calls_.size());
    }
  }

  // Waits until every rank has come, and throws when they mean different things. The ranks are
  // together afterwards, so that a disagreement leaves the connection usable.
  void agree(const Call& call) { agree(call, timeout_s_); }
  void agree(const Call& call, double seconds) {
    if (broken_) throw CommError(name_of(call.kind) + " after contact was lost");
    what_ = place_of(call, ++number_, rank_) + group_;
    begin_ = Clock::now();
    limit_s_ = seconds;
    call_ = call;
    finish(kArrivalYields, [&](MPI_Request* request) {
      return MPI_Iallgather(&call_, sizeof(Call), MPI_BYTE, calls_.data(), sizeof(Call), MPI_BYTE,
                            comm_, request);
    });
    const std::string difference = disagreement(calls_);
    if (!difference.empty()) throw CommError(difference + group_);
  }
  bool all_at(CallKind kind, double seconds) {
    try {
      agree({.kind = kind}, seconds);
      return true;
    } catch (const CommError&) {
      return false;
    }
  }

  // How many of so many bytes make a piece.
  std::int64_t elements_of(std::int64_t bytes) const {
    return std::max<std::int64_t>(1, piece_bytes_ / bytes);
  }
  // At most `count` bytes of every rank from `begin` on, into bytes_ at offsets_.
  void gather_piece(std::int64_t begin, int count) {
    int total = 0;
    for (std::size_t r = 0; r < calls_.size(); ++r) {
      counts_[r] = static_cast<int>(
          std::clamp<std::int64_t>(calls_[r].bytes - begin, 0, std::int64_t{count}));
      offsets_[r] = total;
      total += counts_[r];
    }
    bytes_.resize(static_cast<std::size_t>(total));
    const int mine = counts_[static_cast<std::size_t>(rank_)];
    const char* from = mine == 0 ? nullptr : sent_bytes_.data() + begin;
    transfer(bytes_.size(), [&](MPI_Request* request) {
      return MPI_Iallgatherv(from, mine, MPI_BYTE, bytes_.data(), counts_.data(), offsets_.data(),
                             MPI_BYTE, comm_, request);
    });
  }

  // Every rank gets all pieces and adds them in rank order.
  void sum_everywhere(at::Tensor piece) {
    const std::int64_t count = piece.numel();
    const at::Tensor all = scratch(piece.scalar_type(), count * size_);
    const Unit unit = units_of(piece);
    const int units = static_cast<int>(unit.count);
    transfer(all.nbytes(), [&](MPI_Request* request) {
      return MPI_Iallgather(piece.data_ptr(), units, unit.type, all.data_ptr(), units, unit.type,
                            comm_, request);
    });
    piece.copy_(sum_of_rows(all, count));
  }
  // Every rank gets its share of all pieces, adds them in rank order and hands the sum around.
  void sum_at_owners(at::Tensor piece) {
    const auto start = [&](std::int64_t rank) { return piece.numel() * rank / size_; };
    for (std::int64_t r = 0; r < size_; ++r) {
      const auto i = static_cast<std::size_t>(r);
      send_offsets_[i] = static_cast<int>(start(r));
      send_counts_[i] = static_cast<int>(start(r + 1) - start(r));
    }
    at::Tensor mine = piece.slice(0, start(rank_), start(rank_ + 1));
    mine.copy_(sum_of_shares(piece, mine.numel()));
    const MPI_Datatype type = units_of(piece).type;
    transfer(piece.nbytes(), [&](MPI_Request* request) {
      return MPI_Iallgatherv(MPI_IN_PLACE, 0, type, piece.data_ptr(), send_counts_.data(),
                             send_offsets_.data(), type, comm_, request);
    });
  }
  // Sends the shares that send_counts_ and send_offsets_ name; the sum of what arrives.
  at::Tensor sum_of_shares(const at::Tensor& from, std::int64_t count) {
    const at::Tensor all = scratch(from.scalar_type(), count * size_);
    for (std::size_t r = 0; r < calls_.size(); ++r) {
      counts_[r] = static_cast<int>(count);
      offsets_[r] = static_cast<int>(static_cast<std::int64_t>(r) * count);
    }
    const MPI_Datatype type = units_of(from).type;
    transfer(all.nbytes(), [&](MPI_Request* request) {
      return MPI_Ialltoallv(from.data_ptr(), send_counts_.data(), send_offsets_.data(), type,
                            all.data_ptr(), counts_.data(), offsets_.data(), type, comm_, request);
    });
    return sum_of_rows(all, count);
  }
  // Adds into the first row, or into a copy of the type that sums have.
  at::Tensor sum_of_rows(const at::Tensor& rows, std::int64_t count) const {
    at::Tensor sum = rows.slice(0, 0, count).to(sum_type(rows.scalar_type()));
    for (int r = 1; r < size_; ++r) sum.add_(rows.slice(0, r * count, (r + 1) * count));
    return sum;
  }
  // Kept between calls: fresh memory of this size costs more than the sum.
  at::Tensor scratch(at::ScalarType type, std::int64_t count) {
    const auto bytes = count * static_cast<std::int64_t>(c10::elementSize(type));
    if (!scratch_.defined() || scratch_.numel() < bytes) scratch_ = at::empty({bytes}, at::kByte);
    return scratch_.slice(0, 0, bytes).view(type);
  }

  template <class Start>
  void transfer(std::size_t bytes, Start start) {
    const std::chrono::duration<double> slow(static_cast<double>(bytes) / kSlowBytesPerSecond);
    finish(kTransferYields + std::chrono::duration_cast<Clock::duration>(slow), start);
  }
  // Starts a non-blocking call and waits for it, resting only after `yields`.
  template <class Start>
  void finish(Clock::duration yields, Start start) {
    MPI_Request request = MPI_REQUEST_NULL;
    if (start(&request) != MPI_SUCCESS) give_up("MPI refused the call");
    const Patience patience(yields);
    while (true) {
      int done = 0;
      if (MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) {
        give_up("contact with another rank was lost");
      }
      if (done != 0) return;
      if (std::chrono::duration<double>(Clock::now() - begin_).count() > limit_s_) {
        give_up(fmt::format("another rank did not come or answer within {} s (parallel.timeout_s)",
                            limit_s_));
      }
      patience.pause();
    }
  }
  [[noreturn]] void give_up(const std::string& why) {
    broken_ = true;
    throw CommError(fmt::format("{}: {}", what_, why));
  }

  MPI_Comm comm_ = MPI_COMM_WORLD;
  double timeout_s_;
  std::int64_t piece_bytes_;
  int exceptions_;     // in flight when this was made
  std::string group_;  // what messages add to the rank
  int rank_ = 0;
  int size_ = 1;
  bool broken_ = false;
  std::int64_t number_ = 0;  // of the running collective

  // Of the running collective. These are members because MPI may still touch the buffers of a call
  // that was given up.
  std::string what_;
  Clock::time_point begin_;
  double limit_s_ = 0.0;
  Call call_;
  std::vector<Call> calls_;
  std::array<at::Tensor, 2> held_;
  at::Tensor scratch_;
  std::string sent_bytes_, bytes_;
  std::vector<int> send_counts_, send_offsets_, counts_, offsets_;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi(double timeout_s, std::int64_t piece_bytes) {
  auto communicator = std::make_unique<MpiCommunicator>(timeout_s, piece_bytes);
  const int wanted = launched_ranks();
  if (communicator->size() == 1 && wanted > 1) {
    throw ConfigError(
        fmt::format("MPI: got a world of 1 rank, want the {} that the launcher started; use the "
                    "mpirun of this Open MPI or srun --mpi=pmix",
                    wanted));
  }
  return communicator;
}

}  // namespace limbic::parallel

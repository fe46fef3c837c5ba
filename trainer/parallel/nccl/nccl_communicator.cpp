#include "trainer/parallel/nccl/nccl_communicator.h"

#include <exception>

#include "trainer/base/error.h"
#include "trainer/parallel/call.h"
#include "trainer/parallel/collectives.h"
#include "trainer/parallel/patience.h"

namespace limbic::parallel {
namespace {

using nccl::Result;

// Devices are at work meanwhile and need no processor: most calls end within it.
constexpr auto kYields = std::chrono::milliseconds(20);

nccl::DataType type_of(at::ScalarType type) {
  switch (type) {
    case at::kLong:
      return nccl::DataType::kInt64;
    case at::kBFloat16:
      return nccl::DataType::kBfloat16;
    case at::kDouble:
      return nccl::DataType::kFloat64;
    default:  // the types of sums are checked before
      return nccl::DataType::kFloat32;
  }
}

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(Communicator& control, const nccl::Table& table, NcclPlace place,
                   double timeout_s)
      : control_(control),
        table_(table),
        place_(std::move(place)),
        timeout_s_(timeout_s),
        exceptions_(std::uncaught_exceptions()),
        comm_(nullptr, table.abort) {
    connect();
  }
  // The ranks of a group, which owns what it meets over.
  NcclCommunicator(std::unique_ptr<Communicator> control, const nccl::Table& table, NcclPlace place,
                   double timeout_s)
      : NcclCommunicator(*control, table, std::move(place), timeout_s) {
    owned_ = std::move(control);
  }
  // A rank that leaves by an error must not wait for the others: its part is aborted.
  ~NcclCommunicator() override {
    if (!comm_ || std::uncaught_exceptions() > exceptions_) return;
    what_ = fmt::format("ncclCommFinalize of rank {}", rank());
    try {
      run(table_.finalize(comm_.get()), [] { return true; });
      table_.destroy(comm_.release());
    } catch (const CommError&) {
      comm_.reset();
    }
  }

  int rank() const override { return control_.rank(); }
  int size() const override { return control_.size(); }

  void all_reduce_sum(at::Tensor tensor) override {
    if (!is_here(tensor)) return control_.all_reduce_sum(tensor);
    together(all_reduce_call(tensor, place_.device), [&] {
      return table_.all_reduce(tensor.data_ptr(), tensor.data_ptr(), elements(tensor),
                               type_of(tensor.scalar_type()), nccl::Operation::kSum, comm_.get(),
                               place_.queue->handle());
    });
  }
  void reduce_scatter_sum(const at::Tensor& input, at::Tensor output) override {
    if (!is_here(output)) return control_.reduce_scatter_sum(input, output);
    together(reduce_scatter_call(input, output, size(), place_.device), [&] {
      return table_.reduce_scatter(input.data_ptr(), output.data_ptr(), elements(output),
                                   type_of(input.scalar_type()), nccl::Operation::kSum, comm_.get(),
                                   place_.queue->handle());
    });
  }
  void all_gather(const at::Tensor& input, at::Tensor output) override {
    if (!is_here(output)) return control_.all_gather(input, output);
    together(all_gather_call(input, output, size(), place_.device), [&] {
      return table_.all_gather(input.data_ptr(), output.data_ptr(), input.nbytes(),
                               nccl::DataType::kUint8, comm_.get(), place_.queue->handle());
    });
  }
  void broadcast(at::Tensor tensor, int root) override {
    if (!is_here(tensor)) return control_.broadcast(tensor, root);
    together(broadcast_call(tensor, root, size(), place_.device), [&] {
      return table_.broadcast(tensor.data_ptr(), tensor.data_ptr(), tensor.nbytes(),
                              nccl::DataType::kUint8, root, comm_.get(), place_.queue->handle());
    });
  }

  std::int64_t meet(const Call& call) override { return control_.meet(call); }
  bool everyone_arrives(double seconds) override { return control_.everyone_arrives(seconds); }
  void set_timeout(double seconds) override {
    timeout_s_ = seconds;
    control_.set_timeout(seconds);
  }
  std::vector<std::string> all_gather_bytes(const std::string& mine) override {
    return control_.all_gather_bytes(mine);
  }
  std::unique_ptr<Communicator> split(int color) override {
    return std::make_unique<NcclCommunicator>(control_.split(color), table_, place_, timeout_s_);
  }
  // The world first: it may end this process, and with it what NCCL has running.
  void abort(const std::string& reason, int code) override {
    control_.abort(reason, code);
    comm_.reset();
  }

 private:
  void connect() {
    nccl::UniqueId id{};
    parallel::together(control_, [&] {
      if (rank() != 0) return;
      const Result result = table_.get_unique_id(&id);
      if (result == Result::kSuccess) return;
      throw ConfigError(
          fmt::format("ncclGetUniqueId: {}, want a network interface that it may use "
                      "(NCCL_SOCKET_IFNAME)",
                      said(result)));
    });
    control_.broadcast(at::from_blob(id.internal, {sizeof id.internal}, at::kByte), 0);
    what_ = fmt::format("ncclCommInitRankConfig of rank {} of {}", rank(), size());
    nccl::Config config;
    nccl::Comm comm = nullptr;
    const Result result = table_.init_rank(&comm, size(), id, rank(), &config);
    comm_.reset(comm);
    run(result, [] { return true; });
  }

  bool is_here(const at::Tensor& tensor) const {
    return place_.device.is_cpu() || !tensor.is_cpu();
  }
  static std::size_t elements(const at::Tensor& tensor) {
    return static_cast<std::size_t>(tensor.numel());
  }

  // Meets the others, starts the call and waits until it is done.
  template <class Start>
  void together(const Call& call, Start start) {
    if (!comm_) throw CommError(name_of(call.kind) + " after contact was lost");
    const std::int64_t number = control_.meet(call);
    if (call.bytes == 0) return;
    what_ = place_of(call, number, rank());
    place_.queue->follow();
    run(start(), [&] { return place_.queue->done(); });
  }

  // Waits until NCCL has taken the call and `done`.
  template <class Done>
  void run(Result started, Done done) {
    const Patience patience(kYields);
    expect(started);
    while (true) {
      Result state = Result::kSuccess;
      expect(table_.get_async_error(comm_.get(), &state));
      expect(state);
      if (state == Result::kSuccess && done()) return;
      if (patience.seconds() > timeout_s_) {
        give_up(fmt::format("not done within {} s (parallel.timeout_s)", timeout_s_));
      }
      patience.pause();
    }
  }
  void expect(Result result) {
    if (result != Result::kSuccess && result != Result::kInProgress) give_up(said(result));
  }
  std::string said(Result result) const {
    const char* detail = table_.last_error(comm_.get());
    const bool more = detail != nullptr && *detail != '\0';
    return fmt::format("NCCL said '{}'{}", table_.error_string(result),
                       more ? fmt::format(" ({})", detail) : "");
  }
  [[noreturn]] void give_up(const std::string& why) {
    comm_.reset();
    throw CommError(fmt::format("{}: {}", what_, why));
  }

  std::unique_ptr<Communicator> owned_;
  Communicator& control_;
  nccl::Table table_;
  NcclPlace place_;
  double timeout_s_;
  int exceptions_;    // in flight when this was made
  std::string what_;  // is being done
  // Aborted where nothing else ends it; null after that.
  std::unique_ptr<void, Result (*)(nccl::Comm)> comm_;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl(Communicator& control, const nccl::Table& table,
                                        NcclPlace place, double timeout_s) {
  return std::make_unique<NcclCommunicator>(control, table, std::move(place), timeout_s);
}

}  // namespace limbic::parallel

#include "rewards/service/remote_scorer.h"

#include <fmt/format.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <map>
#include <set>
#include <thread>

#include "proto/reward.grpc.pb.h"
#include "rewards/service/dispatch_plan.h"
#include "rewards/service/wire.h"
#include "trainer/base/error.h"
#include "trainer/base/log.h"

namespace limbic::rewards {
namespace {

namespace wire = reward::v1;

constexpr int kMaxMessageBytes = 16 << 20;
constexpr std::size_t kMaxRequestBytes = 15 << 20;
constexpr int kFirstReconnectMs = 100;
constexpr int kLongestReconnectMs = 1000;
constexpr std::chrono::milliseconds kHealthPoll{100};
constexpr const char* kWant = "want a serving limbic reward worker; start it with limbic serve";

struct Worker {
  std::string address;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<wire::RewardService::Stub> stub;
};

Worker open_worker(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstReconnectMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kFirstReconnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kLongestReconnectMs);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);     // retries are DispatchPlan's
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // the environment decides nothing
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  Worker worker;
  worker.address = address;
  worker.channel =
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  worker.stub = wire::RewardService::NewStub(worker.channel);
  return worker;
}

const char* code_name(grpc::StatusCode code) {
  static const std::map<grpc::StatusCode, const char*> names = {
      {grpc::CANCELLED, "CANCELLED"},
      {grpc::UNKNOWN, "UNKNOWN"},
      {grpc::INVALID_ARGUMENT, "INVALID_ARGUMENT"},
      {grpc::DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"},
      {grpc::NOT_FOUND, "NOT_FOUND"},
      {grpc::ALREADY_EXISTS, "ALREADY_EXISTS"},
      {grpc::PERMISSION_DENIED, "PERMISSION_DENIED"},
      {grpc::RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED"},
      {grpc::FAILED_PRECONDITION, "FAILED_PRECONDITION"},
      {grpc::ABORTED, "ABORTED"},
      {grpc::OUT_OF_RANGE, "OUT_OF_RANGE"},
      {grpc::UNIMPLEMENTED, "UNIMPLEMENTED"},
      {grpc::INTERNAL, "INTERNAL"},
      {grpc::UNAVAILABLE, "UNAVAILABLE"},
      {grpc::DATA_LOSS, "DATA_LOSS"},
      {grpc::UNAUTHENTICATED, "UNAUTHENTICATED"}};
  const auto found = names.find(code);
  return found == names.end() ? "OK" : found->second;
}

std::string shown(const grpc::Status& status) {
  return fmt::format("{}: {}", code_name(status.error_code()), status.error_message());
}

// What a status that is not OK means for the call.
enum class Meaning { kTryAgain, kOutcomeFailed, kGiveUp };

Meaning meaning_of(grpc::StatusCode code) {
  switch (code) {
    case grpc::UNAVAILABLE:
    case grpc::DEADLINE_EXCEEDED:
    case grpc::RESOURCE_EXHAUSTED:
    case grpc::ABORTED:
    case grpc::CANCELLED:
      return Meaning::kTryAgain;
    case grpc::INTERNAL:  // the worker answers, its scoring threw
    case grpc::UNKNOWN:
    case grpc::DATA_LOSS:
      return Meaning::kOutcomeFailed;
    default:
      return Meaning::kGiveUp;
  }
}

struct Call {
  DispatchPlan::Assignment assignment;
  grpc::ClientContext context;
  wire::ScoreReply reply;
  grpc::Status status;
  std::unique_ptr<grpc::ClientAsyncResponseReader<wire::ScoreReply>> reader;
};

// One batch on its way. The caller's thread drives all calls.
class Dispatch {
 public:
  Dispatch(std::vector<Worker>& workers, const RemoteOptions& options,
           std::span<const Completion> batch, std::int64_t policy_step, std::uint64_t seed)
      : workers_(workers),
        options_(options),
        batch_(batch),
        policy_step_(policy_step),
        plan_(batch, options, seed, Clock::now()) {}

  ~Dispatch() {
    for (auto& [tag, call] : calls_) call->context.TryCancel();
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) calls_.erase(tag);
  }
  Dispatch(const Dispatch&) = delete;
  Dispatch& operator=(const Dispatch&) = delete;

  std::vector<Score> run() {
    while (true) {
      while (auto assignment = plan_.next(Clock::now())) start(std::move(*assignment));
      if (plan_.done()) return plan_.take_scores();
      if (plan_.out_of_patience(Clock::now())) {
        throw RemoteError(fmt::format("rewards.workers: got no answer from {} for {} s, {}",
                                      plan_.complaints(), options_.unreachable_after_s, kWant));
      }
      void* tag = nullptr;
      bool ok = false;
      const auto event = queue_.AsyncNext(&tag, &ok, plan_.wake_at(Clock::now()));
      if (event == grpc::CompletionQueue::GOT_EVENT) finish(tag);
    }
  }

 private:
  void start(DispatchPlan::Assignment assignment) {
    wire::ScoreRequest request;
    request.set_policy_step(policy_step_);
    for (const std::size_t row : assignment.chunk.rows) {
      to_wire(batch_[row], *request.add_samples());
    }
    if (request.ByteSizeLong() > kMaxRequestBytes) {
      shrink(std::move(assignment), request.ByteSizeLong());
      return;
    }
    auto call = std::make_unique<Call>();
    const auto deadline = std::chrono::duration<double>(options_.deadline_s);
    call->context.set_deadline(Clock::now() +
                               std::chrono::duration_cast<Clock::duration>(deadline));
    call->assignment = std::move(assignment);
    Worker& worker = workers_[call->assignment.worker];
    call->reader = worker.stub->AsyncScore(&call->context, request, &queue_);
    call->reader->Finish(&call->reply, &call->status, call.get());
    void* tag = call.get();
    calls_[tag] = std::move(call);
  }

  void shrink(DispatchPlan::Assignment assignment, std::size_t bytes) {
    if (assignment.chunk.rows.size() > 1) {
      plan_.halve(std::move(assignment), Clock::now());
      return;
    }
    plan_.answered(assignment);
    plan_.settle_finally(assignment.chunk.rows.front(),
                         failed_score("transport", fmt::format("got a sample of {} bytes, want at "
                                                               "most {}",
                                                               bytes, kMaxRequestBytes)));
  }

  void finish(void* tag) {
    const auto entry = calls_.find(tag);
    check(entry != calls_.end(), "an answer to no call");
    const std::unique_ptr<Call> call = std::move(entry->second);
    calls_.erase(entry);
    if (call->status.ok()) {
      take(*call);
      return;
    }
    const std::string& address = workers_[call->assignment.worker].address;
    switch (meaning_of(call->status.error_code())) {
      case Meaning::kTryAgain:
        spdlog::warn("reward worker {}: {}; trying again", address, shown(call->status));
        plan_.lost(std::move(call->assignment), shown(call->status), Clock::now());
        return;
      case Meaning::kOutcomeFailed:
        plan_.answered(call->assignment);
        for (const std::size_t row : call->assignment.chunk.rows) {
          plan_.settle(row, failed_score("transport", shown(call->status)), call->assignment.worker,
                       Clock::now());
        }
        return;
      case Meaning::kGiveUp:
        throw RemoteError(
            fmt::format("rewards.workers: got {} from {}, want scores; is it a limbic "
                        "reward worker of this version?",
                        shown(call->status), address));
    }
  }

  // Matches scores to rows by key.
  void take(const Call& call) {
    plan_.answered(call.assignment);
    std::map<std::string_view, std::vector<const wire::Score*>> by_key;
    for (const wire::Score& score : call.reply.scores()) by_key[score.key()].push_back(&score);
    const Clock::time_point now = Clock::now();
    for (const std::size_t row : call.assignment.chunk.rows) {
      const auto found = by_key.find(batch_[row].key);
      const std::size_t count = found == by_key.end() ? 0 : found->second.size();
      Score score =
          count == 1
              ? from_wire(*found->second.front())
              : failed_score("transport", fmt::format("got {} scores for the key, want 1", count));
      plan_.settle(row, std::move(score), call.assignment.worker, now);
    }
  }

  std::vector<Worker>& workers_;
  const RemoteOptions& options_;
  std::span<const Completion> batch_;
  std::int64_t policy_step_;
  DispatchPlan plan_;
  grpc::CompletionQueue queue_;
  std::map<void*, std::unique_ptr<Call>> calls_;
};

// One question to the standard health service (grpc.health.v1). Its messages are so small that they
// are spelled by hand: an empty request, and field 1 of the reply is 1 when serving.
grpc::Status ask_health(Worker& worker, Clock::time_point deadline) {
  grpc::GenericStub stub(worker.channel);
  grpc::ClientContext context;
  context.set_deadline(deadline);
  grpc::CompletionQueue queue;
  grpc::ByteBuffer request;
  grpc::ByteBuffer reply;
  grpc::Status status;
  grpc::Slice nothing;
  request = grpc::ByteBuffer(&nothing, 1);
  auto reader = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", request, &queue);
  reader->StartCall();
  reader->Finish(&reply, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) continue;
  if (status.error_code() == grpc::UNIMPLEMENTED) return grpc::Status::OK;
  if (!status.ok()) return status;
  grpc::Slice bytes;
  const bool serving = reply.DumpToSingleSlice(&bytes).ok() && bytes.size() == 2 &&
                       bytes.begin()[0] == 0x08 && bytes.begin()[1] == 0x01;
  return serving ? grpc::Status::OK : grpc::Status(grpc::UNAVAILABLE, "not serving");
}

}  // namespace

struct RemoteScorer::Impl {
  RemoteOptions options;
  std::uint64_t seed;
  std::vector<Worker> workers;
  std::atomic<std::uint64_t> batches{0};

  Clock::time_point deadline() const {
    return Clock::now() + std::chrono::duration_cast<Clock::duration>(
                              std::chrono::duration<double>(options.deadline_s));
  }
  [[noreturn]] void no_answer(const std::string& address, const grpc::Status& status) const {
    throw RemoteError(fmt::format("rewards.workers: got no answer from {} within {} s ({}), {}",
                                  address, options.deadline_s, shown(status), kWant));
  }
};

RemoteScorer::RemoteScorer(const RemoteOptions& options, std::uint64_t seed)
    : impl_(std::make_unique<Impl>()) {
  if (options.workers.empty()) {
    throw ConfigError("rewards.workers: got no addresses, want at least one HOST:PORT");
  }
  take_log_of_grpc();
  impl_->options = options;
  impl_->seed = seed;
  for (const std::string& address : options.workers) {
    impl_->workers.push_back(open_worker(address));
  }
}

RemoteScorer::~RemoteScorer() = default;

std::vector<Score> RemoteScorer::score(std::span<const Completion> batch,
                                       std::int64_t policy_step) {
  std::set<std::string_view> keys;
  for (const Completion& completion : batch) {
    check(!completion.key.empty() && keys.insert(completion.key).second,
          "completions for remote scoring need keys that differ");
  }
  const std::uint64_t seed = derive_seed(impl_->seed, "reward_retry", impl_->batches++);
  return Dispatch(impl_->workers, impl_->options, batch, policy_step, seed).run();
}

Description RemoteScorer::describe() {
  grpc::Status status;
  for (Worker& worker : impl_->workers) {
    grpc::ClientContext context;
    context.set_deadline(impl_->deadline());
    wire::DescribeReply reply;
    status = worker.stub->Describe(&context, wire::DescribeRequest(), &reply);
    if (status.ok()) return from_wire(reply);
  }
  impl_->no_answer(impl_->workers.back().address, status);
}

void RemoteScorer::connect() {
  const Clock::time_point deadline = impl_->deadline();
  for (Worker& worker : impl_->workers) {
    grpc::Status last(grpc::DEADLINE_EXCEEDED, "no answer");
    while (true) {
      const grpc::Status status = ask_health(worker, deadline);
      if (status.ok()) break;
      // The last try is cut short by the deadline; what came before says more.
      if (status.error_code() != grpc::DEADLINE_EXCEEDED) last = status;
      if (Clock::now() + kHealthPoll >= deadline) impl_->no_answer(worker.address, last);
      std::this_thread::sleep_for(kHealthPoll);
    }
  }
}

void describe(Fields& f, RemoteOptions& c) {
  f.field("workers", c.workers, "HOST:PORT of each reward worker; empty = score in this process");
  f.field("deadline_s", c.deadline_s, "seconds for one call", Bounds::positive());
  f.field("unreachable_after_s", c.unreachable_after_s,
          "seconds of silence of all workers after which the run stops (it can be resumed)",
          Bounds::positive());
  f.field("max_batch", c.max_batch, "completions per call", Bounds::between(1, 1024));
  if (!f.reading()) return;
  for (const std::string& worker : c.workers) {
    if (worker.find(':') == std::string::npos) {
      f.fail("workers", fmt::format("got '{}', want HOST:PORT or unix:PATH", worker));
    }
  }
}

}  // namespace limbic::rewards

// Test support: scorers with known answers, and workers that misbehave on the wire.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "proto/reward.grpc.pb.h"
#include "rewards/service/remote_scorer.h"
#include "rewards/service/reward_service.h"

namespace limbic::rewards {

// Rewards a completion with the number that is its text.
class EchoScorer : public Scorer {
 public:
  std::vector<Score> score(std::span<const Completion> batch, std::int64_t policy_step) override {
    calls += 1;
    samples += static_cast<int>(batch.size());
    std::vector<Score> scores;
    for (const Completion& c : batch) {
      scores.push_back({Status::kScored, std::stod(c.text) + static_cast<double>(policy_step), {}});
    }
    return scores;
  }
  Description describe() override {
    return {{{"echo", "test", "1", {"label"}, false}}, "9.9", "hash", 64};
  }

  std::atomic<int> calls{0};
  std::atomic<int> samples{0};
};

// A worker whose replies are written by hand.
class ScriptedWorker {
 public:
  using Script = std::function<grpc::Status(const reward::v1::ScoreRequest&,
                                            reward::v1::ScoreReply&, int call)>;
  explicit ScriptedWorker(Script script) : service_(std::move(script)) {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    address_ = "127.0.0.1:" + std::to_string(port);
  }
  ~ScriptedWorker() { server_->Shutdown(std::chrono::system_clock::now()); }
  const std::string& address() const { return address_; }

 private:
  struct Service final : reward::v1::RewardService::Service {
    explicit Service(Script s) : script(std::move(s)) {}
    grpc::Status Score(grpc::ServerContext*, const reward::v1::ScoreRequest* request,
                       reward::v1::ScoreReply* reply) override {
      return script(*request, *reply, calls++);
    }
    Script script;
    std::atomic<int> calls{0};
  };
  Service service_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

inline ServeConfig loopback() {
  ServeConfig config;
  config.address = "127.0.0.1:0";
  return config;
}

inline RemoteOptions remote(const std::vector<std::string>& workers) {
  RemoteOptions options;
  options.workers = workers;
  options.deadline_s = 5;
  options.unreachable_after_s = 5;
  return options;
}

inline std::vector<Completion> numbers(int count) {
  std::vector<Completion> batch(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    batch[static_cast<std::size_t>(i)].key = "run/0/" + std::to_string(i) + "/0";
    batch[static_cast<std::size_t>(i)].text = std::to_string(i);
  }
  return batch;
}

}  // namespace limbic::rewards

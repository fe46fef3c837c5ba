#include "rewards/service/reward_service.h"

#include <fmt/format.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <semaphore>
#include <set>
#include <thread>

#include "proto/reward.grpc.pb.h"
#include "rewards/service/wire.h"
#include "trainer/base/error.h"
#include "trainer/base/log.h"

namespace limbic::rewards {
namespace {

namespace wire = reward::v1;

constexpr int kMaxMessageBytes = 16 << 20;
constexpr int kMaxMetadataBytes = 8 << 10;
constexpr int kMaxStreams = 256;
constexpr int kMaxBatch = 1024;
constexpr int kMaxThreads = 256;  // more requests than that at once are turned away
constexpr std::chrono::seconds kGrace{5};

using Semaphore = std::counting_semaphore<1024>;

grpc::Status refuse_malformed(const wire::ScoreRequest& request) {
  if (request.samples_size() > kMaxBatch) {
    return {grpc::INVALID_ARGUMENT,
            fmt::format("got {} samples, want at most {}", request.samples_size(), kMaxBatch)};
  }
  std::set<std::string> keys;
  for (const wire::Sample& sample : request.samples()) {
    if (sample.key().empty()) return {grpc::INVALID_ARGUMENT, "got a sample without a key"};
    if (!keys.insert(sample.key()).second) {
      return {grpc::INVALID_ARGUMENT, fmt::format("got the key '{}' twice", sample.key())};
    }
  }
  return grpc::Status::OK;
}

// The edge where exceptions become statuses.
template <class Work>
grpc::Status guarded(Work work) {
  try {
    return work();
  } catch (const RemoteError& error) {
    return {grpc::UNAVAILABLE, error.what()};
  } catch (const Error& error) {
    return {grpc::INVALID_ARGUMENT, error.what()};
  } catch (const std::exception& error) {
    spdlog::error("reward worker: {}", error.what());
    return {grpc::INTERNAL, error.what()};
  }
}

class Service final : public wire::RewardService::Service {
 public:
  Service(std::shared_ptr<Scorer> scorer, int threads)
      : scorer_(std::move(scorer)), free_(threads) {}

  grpc::Status Score(grpc::ServerContext*, const wire::ScoreRequest* request,
                     wire::ScoreReply* reply) override {
    return guarded([&] { return answer(*request, *reply); });
  }

  grpc::Status ScoreStream(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<wire::ScoreReply, wire::ScoreRequest>* stream) override {
    wire::ScoreRequest request;
    while (stream->Read(&request)) {
      wire::ScoreReply reply;
      const grpc::Status status = guarded([&] { return answer(request, reply); });
      if (!status.ok()) return status;
      if (!stream->Write(reply)) return {grpc::CANCELLED, "the client is gone"};
    }
    return grpc::Status::OK;
  }

  grpc::Status Describe(grpc::ServerContext*, const wire::DescribeRequest*,
                        wire::DescribeReply* reply) override {
    return guarded([&] {
      to_wire(scorer_->describe(), *reply);
      reply->set_max_batch(kMaxBatch);
      return grpc::Status::OK;
    });
  }

 private:
  grpc::Status answer(const wire::ScoreRequest& request, wire::ScoreReply& reply) {
    const grpc::Status status = refuse_malformed(request);
    if (!status.ok()) return status;
    std::vector<Completion> batch;
    batch.reserve(static_cast<std::size_t>(request.samples_size()));
    for (const wire::Sample& sample : request.samples()) batch.push_back(from_wire(sample));
    const std::vector<rewards::Score> scores = score(batch, request.policy_step());
    check(scores.size() == batch.size(), "the scorer gave a wrong number of scores");
    for (std::size_t i = 0; i < batch.size(); ++i) {
      to_wire(scores[i], batch[i].key, *reply.add_scores());
    }
    reply.set_policy_hash(request.policy_hash());
    return grpc::Status::OK;
  }

  // Requests beyond the configured number queue here; their number is bounded by kMaxThreads.
  std::vector<rewards::Score> score(const std::vector<Completion>& batch, std::int64_t step) {
    free_.acquire();
    const std::unique_ptr<Semaphore, void (*)(Semaphore*)> place(
        &free_, [](Semaphore* semaphore) { semaphore->release(); });
    return scorer_->score(batch, step);
  }

  std::shared_ptr<Scorer> scorer_;
  Semaphore free_;
};

// The bound port in place of the one that was asked for.
std::string with_port(const std::string& address, int port) {
  const std::size_t colon = address.rfind(':');
  if (address.starts_with("unix:") || colon == std::string::npos || port <= 0) return address;
  return fmt::format("{}:{}", address.substr(0, colon), port);
}

int thread_count(const ServeConfig& config) {
  const auto cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  return config.threads > 0 ? static_cast<int>(config.threads) : cores;
}

}  // namespace

struct RewardServer::Impl {
  Impl(std::shared_ptr<Scorer> scorer, int threads) : service(std::move(scorer), threads) {}
  Service service;
  std::unique_ptr<grpc::Server> server;
  std::string address;
};

RewardServer::RewardServer(const ServeConfig& config, std::shared_ptr<Scorer> scorer)
    : impl_(std::make_unique<Impl>(std::move(scorer), thread_count(config))) {
  if (!config.metrics_address.empty() || config.tls) {
    throw ConfigError("serve: got metrics_address or tls, which this version does not have yet");
  }
  take_log_of_grpc();
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ResourceQuota quota("reward worker");
  quota.SetMaxThreads(kMaxThreads);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.SetResourceQuota(quota);
  builder.AddListeningPort(config.address, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&impl_->service);
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetMaxSendMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreams);
  // A second worker on the same port is a mistake, not a way to share it.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 1);
  impl_->server = builder.BuildAndStart();
  if (!impl_->server) {
    throw ConfigError(
        fmt::format("serve.address: got '{}', want a free address HOST:PORT", config.address));
  }
  impl_->address = with_port(config.address, port);
}

RewardServer::~RewardServer() { shutdown(); }

std::string RewardServer::address() const { return impl_->address; }

void RewardServer::wait() { impl_->server->Wait(); }

void RewardServer::shutdown() {
  if (!impl_ || !impl_->server) return;
  if (auto* health = impl_->server->GetHealthCheckService()) health->SetServingStatus(false);
  impl_->server->Shutdown(std::chrono::system_clock::now() + kGrace);
}

void describe(Fields& f, TlsConfig& c) {
  f.field("cert", c.cert, "certificate chain (PEM)");
  f.field("key", c.key, "private key (PEM)");
  f.field("client_ca", c.client_ca, "authority that signs the clients' certificates (PEM)");
}

void describe(Fields& f, ServeConfig& c) {
  f.field("address", c.address, "HOST:PORT (port 0 = any free one) or unix:PATH to listen at");
  f.field("metrics_address", c.metrics_address, "HOST:PORT of metrics; not part of this version");
  f.field("threads", c.threads, "requests that are scored at the same time; 0 = one per core",
          Bounds::between(0, 1024));
  f.section("tls", c.tls, "encryption; not part of this version");
  if (!f.reading()) return;
  if (c.address.empty()) f.fail("address", "got nothing, want HOST:PORT");
  if (!c.metrics_address.empty()) {
    f.fail("metrics_address", fmt::format("got '{}', want \"\"; this version serves no metrics yet",
                                          c.metrics_address));
  }
  if (c.tls) f.fail("tls", "got a section, want none; this version does not have TLS yet");
}

}  // namespace limbic::rewards

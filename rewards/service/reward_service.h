// The server side of proto/reward.proto: any Scorer behind gRPC, with the standard health service
// and server reflection. Plain HTTP/2; use it on loopback, a Unix socket or a private network.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "rewards/scorer.h"

namespace limbic::rewards {

struct TlsConfig {
  std::string cert;
  std::string key;
  std::string client_ca;
};
void describe(Fields& f, TlsConfig& c);

struct ServeConfig {
  std::string address = "127.0.0.1:50051";  // HOST:PORT (port 0 = any free one) or unix:PATH
  std::string metrics_address;              // refused: not part of this version
  std::int64_t threads = 0;                 // that score at the same time; 0 = one per core
  std::optional<TlsConfig> tls;             // refused: not part of this version
};
void describe(Fields& f, ServeConfig& c);

// Limits: 16 MiB per message, 1024 samples per request, 8 KiB of metadata, 256 streams per
// connection. What goes wrong becomes a status: a request that breaks the protocol or that the
// scorer refuses INVALID_ARGUMENT, a lost service behind the scorer UNAVAILABLE, anything else
// INTERNAL.
class RewardServer {
 public:
  // Listens and serves when it returns. Throws ConfigError when the address cannot be bound or
  // a setting is not part of this version.
  RewardServer(const ServeConfig& config, std::shared_ptr<Scorer> scorer);
  ~RewardServer();
  RewardServer(const RewardServer&) = delete;
  RewardServer& operator=(const RewardServer&) = delete;

  // The configured address with the port that was bound.
  std::string address() const;
  // Blocks until `shutdown` is called from another thread.
  void wait();
  // Reports NOT_SERVING, takes no new calls, lets running ones end within 5 s, then cancels them.
  // Not for signal handlers.
  void shutdown();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace limbic::rewards

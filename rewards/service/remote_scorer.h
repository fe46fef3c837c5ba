// Reward workers behind gRPC as a Scorer.
//
// A batch is cut into chunks of at most `max_batch` completions (groups stay together while they
// fit) that go to the workers side by side, one call per worker at a time. A call that fails in
// transport is tried again, on another worker first, after a wait that doubles with jitter. A
// worker that dies and comes back costs waiting only. Only when every worker has been silent for
// `unreachable_after_s` is the call given up.
//
// Answers are matched by key. A completion whose answer is missing, doubled, outside the protocol
// or failed is sent again up to 3 times before it is returned as failed; it never becomes a number.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rewards/scorer.h"

namespace limbic::rewards {

struct RemoteOptions {
  std::vector<std::string> workers;    // HOST:PORT or unix:PATH
  double deadline_s = 30.0;            // of one call, and of the health check at the start
  double unreachable_after_s = 120.0;  // silence of all workers that is waited for
  std::int64_t max_batch = 64;         // completions per call
};
// Keys of the section that the options stand in.
void describe(Fields& f, RemoteOptions& c);

class RemoteScorer final : public Scorer {
 public:
  // Does not connect yet. `seed` decides the jitter. Throws ConfigError without workers.
  RemoteScorer(const RemoteOptions& options, std::uint64_t seed);
  ~RemoteScorer() override;

  // Requires: keys that are set and differ. Throws RemoteError also when a worker refuses the
  // request for good (INVALID_ARGUMENT, UNIMPLEMENTED, ...).
  std::vector<Score> score(std::span<const Completion> batch, std::int64_t policy_step) override;
  // Of the first worker that answers.
  Description describe() override;
  // Asks every worker's health service. A worker without one counts as serving.
  void connect() override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace limbic::rewards

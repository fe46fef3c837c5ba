// The seam between training and rewards: a graph in this process, or workers behind gRPC.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "rewards/score.h"

namespace limbic::rewards {

struct TermInfo {
  std::string name;
  std::string type;
  std::string version;
  std::vector<std::string> columns;  // that it reads and that some row of the data has to have
  bool group_level = false;          // needs all completions of a prompt in one batch

  bool operator==(const TermInfo&) const = default;
};

struct Description {
  std::vector<TermInfo> terms;
  std::string version;     // of limbic
  std::string graph_hash;  // SHA-256 of the graph, its options and the tables it read
  std::int64_t max_batch = 0;
};

class Scorer {
 public:
  virtual ~Scorer() = default;

  // One score per completion, in order. Idempotent: the same batch and step give the same scores.
  // May be called from several threads at once. Blocks; throws RemoteError when a service that it
  // needs stays silent for longer than its configured time.
  virtual std::vector<Score> score(std::span<const Completion> batch, std::int64_t policy_step) = 0;

  // Throws RemoteError when a service is asked and does not answer.
  virtual Description describe() = 0;

  // Makes sure that every service it depends on answers, before a long run starts. Throws
  // RemoteError after the deadline of each.
  virtual void connect() {}
};

}  // namespace limbic::rewards

#include "rewards/local_scorer.h"

namespace limbic::rewards {
namespace {

constexpr std::int64_t kMaxBatch = 1024;

}  // namespace

Description LocalScorer::describe() {
  return {graph_.terms(), LIMBIC_VERSION, graph_.hash(), kMaxBatch};
}

}  // namespace limbic::rewards

// Every kind of world that fits into one process.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/support/nccl/double_rank.h"
#include "tests/unit/parallel/ranks.h"

namespace limbic::parallel {

enum class Transport {
  kLocal,
  kThreads,
  kStaged,  // threads behind host buffers of a few elements
  kNccl,    // the double of NCCL between threads
};

struct WorldKind {
  Transport transport;
  int size;
};

inline std::string name_of_world(const testing::TestParamInfo<WorldKind>& info) {
  static constexpr const char* kNames[] = {"Local", "Threads", "Staged", "Nccl"};
  return kNames[static_cast<std::size_t>(info.param.transport)] + std::to_string(info.param.size);
}

// Element r is what rank r threw, null when it threw nothing.
template <class Play>
std::vector<std::exception_ptr> outcomes_of(const WorldKind& kind, Play play,
                                            double timeout_s = kTestTimeoutSeconds) {
  auto world = make_threads(kind.size, timeout_s);
  switch (kind.transport) {
    case Transport::kLocal:
      world[0] = make_local();
      break;
    case Transport::kThreads:
      break;
    case Transport::kStaged:
      for (auto& rank : world) {
        rank = make_staged(std::move(rank), {.every_tensor = true, .piece_bytes = 1000});
      }
      break;
    case Transport::kNccl:
      return outcomes_of_world(
          world, [&](Communicator& control) { play(*test::make_double_rank(control, timeout_s)); });
  }
  return outcomes_of_world(world, play);
}

}  // namespace limbic::parallel

#include "launch/run/world.h"

#include <iostream>

#include "launch/config/settings.h"
#include "launch/exit_code.h"
#include "launch/run/exchange.h"
#include "trainer/base/error.h"
#include "trainer/base/log.h"
#include "trainer/parallel/collectives.h"

namespace limbic::launch {
namespace {

// How long a failing rank waits to see whether all others failed with it.
constexpr double kFailTogetherSeconds = 3.0;
// Before the experiment file has said otherwise.
constexpr double kStartTimeoutSeconds = 600.0;

std::string first_difference(const Settings& a, const Settings& b) {
  for (const auto& [path, value] : a) {
    const auto other = b.find(path);
    if (other == b.end()) return fmt::format("{} is {} on rank 0 only", path, value);
    if (other->second != value) return fmt::format("{} is {} and {}", path, value, other->second);
  }
  for (const auto& [path, value] : b) {
    if (a.count(path) == 0) return fmt::format("{} is {} on the other rank only", path, value);
  }
  return "";
}

void check_agreement(parallel::Communicator& communicator, const RunConfig& config) {
  Settings mine = numeric_settings(config, communicator.size());
  mine["run.output"] = config.output();
  const std::vector<std::string> all = communicator.all_gather_bytes(Json(mine).dump());
  const Settings first = Json::parse(all[0]).get<Settings>();
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    const std::string difference = first_difference(first, Json::parse(all[rank]).get<Settings>());
    if (difference.empty()) continue;
    throw ConfigError(fmt::format("ranks 0 and {}: got different configs ({}), want one for all",
                                  rank, difference));
  }
}

void check_backend(Backend backend, int ranks) {
  const bool many = backend == Backend::kMpi || backend == Backend::kNccl;
  if (many && !parallel::started_by_mpi()) {
    throw ConfigError(
        fmt::format("parallel.backend: got {}, want mpirun or srun to start the ranks",
                    backend == Backend::kMpi ? "mpi" : "nccl"));
  }
  if (backend == Backend::kLocal && ranks > 1) {
    throw ConfigError(
        fmt::format("parallel.backend: got local with {} ranks, want auto, mpi or nccl", ranks));
  }
}

void check_shards(const ParallelSection& parallel, int ranks) {
  if (parallel.shard_ranks == 0) return;
  if (ranks % parallel.shard_ranks != 0) {
    throw ConfigError(
        fmt::format("parallel.shard_ranks: got {} with {} ranks, want a divisor of the ranks or 0",
                    parallel.shard_ranks, ranks));
  }
  if (parallel.zero_stage == 0) {
    throw ConfigError(fmt::format(
        "parallel.shard_ranks: got {} with zero_stage 0, which shares nothing, want 0 or another "
        "zero_stage",
        parallel.shard_ranks));
  }
}

}  // namespace

World::World()
    : communicator_(parallel::make_staged(parallel::started_by_mpi()
                                              ? parallel::make_mpi(kStartTimeoutSeconds)
                                              : parallel::make_local())) {
  configure_log(communicator_->rank(), communicator_->size());
}

RunConfig World::load_config(const std::string& path, const std::vector<std::string>& overrides) {
  RunConfig config;
  parallel::together(*communicator_, [&] {
    config = load_run_config(path, overrides);
    config.in_place([&] {
      check_backend(config.parallel.backend, communicator_->size());
      check_shards(config.parallel, communicator_->size());
    });
  });
  check_agreement(*communicator_, config);
  communicator_->set_timeout(config.parallel.timeout_s);
  return config;
}

Place World::take_place(const RunConfig& config) {
  Place place;
  parallel::together(*communicator_, [&] { place = choose_place(config.run); });
  nccl_ = open_exchange(*communicator_, config, place);
  return place;
}

int run_in_world(const std::function<void(World&)>& work) {
  std::unique_ptr<World> world;
  try {
    world = std::make_unique<World>();
    work(*world);
    return kExitOk;
  } catch (...) {
    const Failure failure = failure_of(std::current_exception());
    const bool single = !world || world->communicator().size() == 1;
    if (single || world->communicator().everyone_arrives(kFailTogetherSeconds)) {
      if (!world || world->communicator().rank() == 0) {
        std::cerr << (failure.code == kExitInterrupted ? "stopped: " : "error: ") << failure.message
                  << std::endl;
      }
      return failure.code;
    }
    world->communicator().abort(failure.message, failure.code);
    return failure.code;
  }
}

}  // namespace limbic::launch

#include "launch/run/exchange.h"

#include <optional>

#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/base/log.h"
#include "trainer/device/gpu.h"
#include "trainer/parallel/nccl/nccl_communicator.h"

namespace limbic::launch {
namespace {

// Addresses of devices are those of one machine; machines are told apart by when they started.
constexpr const char* kMachine = "/proc/sys/kernel/random/boot_id";

std::string why_on_the_cpu(const RunSection& run) {
  if (run.device == Device::kCpu) return "computes on the CPU (run.device: cpu)";
  const device::GpuReport gpus = device::find_gpus();
  const std::string reason =
      gpus.devices == 0 ? "its machine has " + gpus.reason : "the GPU module is not usable";
  return fmt::format("computes on the CPU: {}", reason);
}

// Loads NCCL when this rank could use it.
RankDevice examine(const RunSection& run, const Place& place,
                   std::optional<parallel::nccl::Library>& library) {
  if (!place.accelerator) return {.device = "", .missing = why_on_the_cpu(run)};
  const device::DeviceInfo info = place.accelerator->info(place.device.index());
  RankDevice mine{.device = read_file(kMachine) + info.address, .missing = ""};
  try {
    library = parallel::nccl::load();
  } catch (const ConfigError& error) {
    mine.missing = fmt::format("has no NCCL: {}", error.what());
  }
  return mine;
}

std::vector<RankDevice> all_of(parallel::Communicator& control, const RankDevice& mine) {
  std::vector<RankDevice> ranks;
  for (const std::string& text :
       control.all_gather_bytes(Json::array({mine.device, mine.missing}).dump())) {
    const Json rank = Json::parse(text);
    ranks.push_back({.device = rank[0], .missing = rank[1]});
  }
  return ranks;
}

}  // namespace

std::string obstacle(const std::vector<RankDevice>& ranks) {
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    if (!ranks[r].missing.empty()) return fmt::format("rank {} {}", r, ranks[r].missing);
    for (std::size_t other = 0; other < r; ++other) {
      if (ranks[other].device == ranks[r].device) {
        return fmt::format("ranks {} and {} share a GPU", other, r);
      }
    }
  }
  return "";
}

std::unique_ptr<parallel::Communicator> open_exchange(parallel::Communicator& control,
                                                      const RunConfig& config, const Place& place) {
  const Backend backend = config.parallel.backend;
  if (backend == Backend::kMpi || backend == Backend::kLocal) return nullptr;
  if (backend == Backend::kAuto && control.size() == 1) return nullptr;
  std::optional<parallel::nccl::Library> library;
  const auto ranks = all_of(control, examine(config.run, place, library));
  const std::string missing = obstacle(ranks);
  if (missing.empty()) {
    spdlog::info("ranks exchange by NCCL {}", library->version);
    return parallel::make_nccl(
        control, library->table,
        {.device = place.device, .queue = place.accelerator->make_queue(place.device.index())},
        config.parallel.timeout_s);
  }
  if (backend == Backend::kNccl) {
    throw ConfigError(
        "parallel.backend: got nccl, want a GPU of its own and NCCL for every rank; " + missing);
  }
  if (place.accelerator) spdlog::info("ranks exchange by way of host memory: {}", missing);
  return nullptr;
}

}  // namespace limbic::launch

#include "launch/model/place.h"

#include <cstdlib>

#include "trainer/base/error.h"
#include "trainer/base/log.h"
#include "trainer/tensor/kernels/kernels.h"

namespace limbic::launch {
namespace {

std::int64_t first_number(std::initializer_list<const char*> names, std::int64_t otherwise) {
  for (const char* name : names) {
    const char* text = std::getenv(name);
    if (text != nullptr && *text != '\0') return std::strtoll(text, nullptr, 10);
  }
  return otherwise;
}

at::ScalarType type_of(Dtype dtype, bool has_bf16) {
  if (dtype == Dtype::kAuto) return has_bf16 ? at::kBFloat16 : at::kFloat;
  return dtype == Dtype::kBfloat16 ? at::kBFloat16 : at::kFloat;
}

Place on_cpu(Dtype dtype) {
  Place place;
  place.compute = type_of(dtype, kernels::cpu_has_bf16());
  return place;
}

// Products of cuBLAS repeat their bits only with a workspace of fixed size, which it reads from the
// environment once.
void make_deterministic() {
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 0);
  at::globalContext().setDeterministicAlgorithms(true, false);
  at::globalContext().setDeterministicFillUninitializedMemory(false);
}

Place on_gpu(std::shared_ptr<device::Accelerator> accelerator, Dtype dtype,
             const std::string& where) {
  const int devices = accelerator->devices();
  const int index = device_of_rank(local_rank(), devices);
  accelerator->use(index);
  const device::DeviceInfo info = accelerator->info(index);
  if (dtype == Dtype::kBfloat16 && !info.bf16) {
    throw ConfigError(fmt::format("{}: got bfloat16 on {} (compute capability {}.{}), want float32",
                                  where, info.name, info.major, info.minor));
  }
  const double gb = 1.0 / (1 << 30);
  spdlog::info("{}: cuda:{}, {} (compute capability {}.{}), {:.1f} of {:.1f} GB free{}", where,
               index, info.name, info.major, info.minor, static_cast<double>(info.free_bytes) * gb,
               static_cast<double>(info.total_bytes) * gb,
               local_ranks() > devices ? ", shared with other ranks" : "");
  return {.device = at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index)),
          .compute = type_of(dtype, info.bf16),
          .name = info.name,
          .accelerator = std::move(accelerator)};
}

}  // namespace

std::int64_t Place::peak_gpu_mb() const {
  return accelerator ? accelerator->peak_bytes(device.index()) >> 20 : 0;
}

std::int64_t local_ranks() {
  return std::max<std::int64_t>(
      1,
      first_number({"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_NTASKS_PER_NODE"}, 1));
}

std::int64_t local_rank() {
  return first_number({"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"}, 0);
}

int device_of_rank(std::int64_t local_rank, int devices) {
  return static_cast<int>(local_rank % devices);
}

Place choose_place(Device wanted, Dtype dtype, bool deterministic, const std::string& where) {
  if (wanted == Device::kCpu) return on_cpu(dtype);
  const device::GpuReport gpus = device::find_gpus();
  if (wanted == Device::kAuto && gpus.devices == 0) return on_cpu(dtype);
  std::shared_ptr<device::Accelerator> accelerator;
  try {
    accelerator = device::open_accelerator(gpus, device::module_path());
  } catch (const ConfigError& error) {
    if (wanted == Device::kCuda) {
      throw ConfigError(fmt::format("{}: got cuda, want a GPU; {}", where, error.what()));
    }
    spdlog::warn("{}: computing on the CPU: {}", where, error.what());
    return on_cpu(dtype);
  }
  if (deterministic) make_deterministic();
  return on_gpu(std::move(accelerator), dtype, where);
}

Place choose_place(const RunSection& run) {
  return choose_place(run.device, run.dtype, run.deterministic, "run.device");
}

}  // namespace limbic::launch

#include "launch/version.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>
#include <mpi.h>

#include "trainer/device/gpu.h"

namespace limbic::launch {

std::vector<std::pair<std::string, std::string>> versions() {
  char mpi[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(mpi, &length);
  const std::string library(mpi, static_cast<std::size_t>(length));
  return {{"limbic", LIMBIC_VERSION " (" LIMBIC_COMMIT ")"},
          {"LibTorch", LIMBIC_TORCH_VERSION},
          {"CUDA", LIMBIC_CUDA_VERSION},
          {"NCCL", LIMBIC_NCCL_VERSION},
          {"MPI", library.substr(0, library.find(','))},
          {"gRPC", grpc::Version()}};
}

std::string version_text() {
  std::string text;
  for (const auto& [name, version] : versions()) text += fmt::format("{} {}\n", name, version);
  const device::GpuReport gpus = device::find_gpus();
  text += gpus.devices > 0 ? fmt::format("GPUs {}\n", gpus.devices)
                           : fmt::format("GPUs none: {}\n", gpus.reason);
  return text;
}

}  // namespace limbic::launch

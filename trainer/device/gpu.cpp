#include "trainer/device/gpu.h"

#include <dlfcn.h>
#include <fmt/format.h>

namespace limbic::device {

GpuReport find_gpus() {
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (driver == nullptr) return {0, "no NVIDIA driver (libcuda.so.1)"};
  using Init = int (*)(unsigned);
  using Count = int (*)(int*);
  const auto init = reinterpret_cast<Init>(dlsym(driver, "cuInit"));
  const auto count = reinterpret_cast<Count>(dlsym(driver, "cuDeviceGetCount"));
  if (init == nullptr || count == nullptr) return {0, "a driver library without cuInit"};
  if (const int code = init(0); code != 0)
    return {0, fmt::format("cuInit failed with code {}", code)};
  int devices = 0;
  if (count(&devices) != 0 || devices == 0) return {0, "a driver but no device"};
  return {devices, ""};
}

}  // namespace limbic::device

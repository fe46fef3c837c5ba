#include "trainer/device/accelerator.h"

#include <ATen/Context.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <filesystem>

#include "trainer/base/error.h"

namespace limbic::device {
namespace {

template <class Function>
Function* symbol_of(void* library, const std::string& path, const char* name) {
  void* symbol = dlsym(library, name);
  if (symbol == nullptr) {
    throw ConfigError(fmt::format("{}: got no '{}', want the GPU module of limbic", path, name));
  }
  return reinterpret_cast<Function*>(symbol);
}

}  // namespace

std::string module_path() {
  const auto executable = std::filesystem::read_symlink("/proc/self/exe");
  return (executable.parent_path() / "liblimbic_cuda.so").string();
}

std::unique_ptr<Accelerator> load_accelerator(const std::string& path) {
  if (!std::filesystem::exists(path)) {
    throw ConfigError(path + ": got no such file, want the GPU module; build it with limbic_cuda");
  }
  // Never unloaded: torch keeps what its libraries have registered.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) {
    throw ConfigError(fmt::format("{}: got a module that does not load ({})", path, dlerror()));
  }
  const std::uint32_t interface = symbol_of<InterfaceFunction>(library, path, kInterfaceSymbol)();
  if (interface != kModuleInterface) {
    throw ConfigError(fmt::format("{}: got interface {}, want {}; build both again", path,
                                  interface, kModuleInterface));
  }
  return std::unique_ptr<Accelerator>(symbol_of<MakeFunction>(library, path, kMakeSymbol)());
}

std::unique_ptr<Accelerator> open_accelerator(const GpuReport& gpus, const std::string& path) {
  if (gpus.devices == 0) throw ConfigError("this machine has " + gpus.reason);
  auto accelerator = load_accelerator(path);
  if (accelerator->devices() == 0) {
    throw ConfigError(
        fmt::format("{}: got no device, want the {} of the driver; torch's CUDA may want a newer "
                    "driver",
                    path, gpus.devices));
  }
  check(at::hasCUDA(), "torch was asked for CUDA before the module was loaded");
  return accelerator;
}

}  // namespace limbic::device

#include "trainer/parallel/nccl/api.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "trainer/base/error.h"

namespace limbic::parallel::nccl {
namespace {

constexpr int kOldest = 21400;  // the first with communicators that do not block

class Symbols {
 public:
  explicit Symbols(const std::string& path)
      : path_(path), library_(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE)) {
    if (library_ != nullptr) return;
    throw ConfigError(fmt::format(
        "{}: got a library that does not load ({}), want NCCL; it comes with the torch wheel "
        "(nvidia-nccl) or the system",
        path, dlerror()));
  }

  template <class Function>
  void find(const char* name, Function*& function) const {
    function = reinterpret_cast<Function*>(dlsym(library_, name));
    if (function != nullptr) return;
    throw ConfigError(fmt::format("{}: got no '{}', want NCCL 2.14 or newer", path_, name));
  }

 private:
  const std::string& path_;
  void* library_;
};

// major * 10000 + minor * 100 + patch, since 2.9.
std::string version_text(int code) {
  return fmt::format("{}.{}.{}", code / 10000, code / 100 % 100, code % 100);
}

}  // namespace

Library load(const std::string& path) {
  const Symbols symbols(path);
  Library library;
  Table& table = library.table;
  symbols.find("ncclGetVersion", table.get_version);
  symbols.find("ncclGetUniqueId", table.get_unique_id);
  symbols.find("ncclCommInitRankConfig", table.init_rank);
  symbols.find("ncclCommFinalize", table.finalize);
  symbols.find("ncclCommDestroy", table.destroy);
  symbols.find("ncclCommAbort", table.abort);
  symbols.find("ncclCommGetAsyncError", table.get_async_error);
  symbols.find("ncclGetErrorString", table.error_string);
  symbols.find("ncclGetLastError", table.last_error);
  symbols.find("ncclAllReduce", table.all_reduce);
  symbols.find("ncclReduceScatter", table.reduce_scatter);
  symbols.find("ncclAllGather", table.all_gather);
  symbols.find("ncclBroadcast", table.broadcast);

  int version = 0;
  if (const Result result = table.get_version(&version); result != Result::kSuccess) {
    throw ConfigError(fmt::format("{}: got '{}' when asked for its version, want NCCL", path,
                                  table.error_string(result)));
  }
  library.version = version_text(version);
  if (version < kOldest) {
    throw ConfigError(fmt::format("{}: got NCCL {}, want 2.14 or newer", path, library.version));
  }
  return library;
}

}  // namespace limbic::parallel::nccl

// NCCL as a table of functions of a library that is loaded at run time, so that the binary links
// nothing of it and builds without its header. Source: nccl.h of NCCL 2.14 and later; a test
// compares what is declared here with the header that comes with torch.
#pragma once

#include <cstddef>
#include <string>

namespace limbic::parallel::nccl {

enum class Result : int {
  kSuccess = 0,
  kUnhandledCudaError = 1,
  kSystemError = 2,
  kInternalError = 3,
  kInvalidArgument = 4,
  kInvalidUsage = 5,
  kRemoteError = 6,
  kInProgress = 7,
};
enum class DataType : int { kUint8 = 1, kInt64 = 4, kFloat32 = 7, kFloat64 = 8, kBfloat16 = 9 };
enum class Operation : int { kSum = 0 };

struct UniqueId {
  char internal[128];
};

// As of 2.14, the first version with it: later ones read it by its size and version.
struct Config {
  std::size_t size = sizeof(Config);
  unsigned magic = 0xcafebeef;
  unsigned version = 21400;
  int blocking = 0;  // calls return at once; `get_async_error` says how they get on
};

using Comm = void*;    // ncclComm_t
using Stream = void*;  // cudaStream_t

struct Table {
  Result (*get_version)(int* version);
  Result (*get_unique_id)(UniqueId* id);
  Result (*init_rank)(Comm* comm, int ranks, UniqueId id, int rank, Config* config);
  Result (*finalize)(Comm comm);
  Result (*destroy)(Comm comm);
  Result (*abort)(Comm comm);
  Result (*get_async_error)(Comm comm, Result* state);
  const char* (*error_string)(Result result);
  const char* (*last_error)(Comm comm);
  Result (*all_reduce)(const void* from, void* to, std::size_t count, DataType type,
                       Operation operation, Comm comm, Stream stream);
  Result (*reduce_scatter)(const void* from, void* to, std::size_t count_of_a_rank, DataType type,
                           Operation operation, Comm comm, Stream stream);
  Result (*all_gather)(const void* from, void* to, std::size_t count_of_a_rank, DataType type,
                       Comm comm, Stream stream);
  Result (*broadcast)(const void* from, void* to, std::size_t count, DataType type, int root,
                      Comm comm, Stream stream);
};

struct Library {
  Table table = {};
  std::string version;  // "2.28.9"
};

// The name by which the loader finds the one of the torch wheel (loaded with the GPU module, or
// beside the wheel) or the system's.
inline constexpr const char* kLibrary = "libnccl.so.2";

// Loads it; it stays loaded to the end of the process. Throws ConfigError `PATH: got ...`: a
// library that does not load (with the loader's reason), lacks a function, or is too old.
Library load(const std::string& path = kLibrary);

}  // namespace limbic::parallel::nccl

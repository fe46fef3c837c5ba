// The GPU as limbic sees it. What speaks to CUDA lies in a module of its own beside the executable
// (`trainer/cuda`), which is loaded only when there is something to speak to: a process on a CPU
// starts without hundreds of megabytes of libraries.
//
// Once the module is loaded, tensors can live on at::Device(at::kCUDA, index). Load it before
// anything else asks torch for CUDA: torch looks once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "trainer/device/gpu.h"

namespace limbic::device {

struct DeviceInfo {
  std::string name;          // "NVIDIA H100 80GB HBM3"
  int major = 0, minor = 0;  // compute capability
  std::int64_t total_bytes = 0, free_bytes = 0;
  bool bf16 = false;    // multiplies bfloat16 natively
  std::string address;  // on the buses of its machine: "0000:1b:00"
};

// Work that a device does in order, beside what it computes.
class Queue {
 public:
  virtual ~Queue() = default;
  // What CUDA calls a stream (cudaStream_t).
  virtual void* handle() const = 0;
  // What is put in from now on waits for all that the calling thread has started on the device.
  virtual void follow() = 0;
  // Whether all that was put in is done.
  virtual bool done() = 0;
};

// Implemented by the module, as is Queue. Indices are from 0 to below `devices()`; what fails
// throws c10::Error.
class Accelerator {
 public:
  virtual ~Accelerator() = default;
  // What the driver shows to this process; 0 without a driver, without an error.
  virtual int devices() const = 0;
  virtual DeviceInfo info(int index) const = 0;
  // Makes it the device of this thread.
  virtual void use(int index) = 0;
  // Waits for all that was started on it.
  virtual void synchronize(int index) = 0;
  // The most that tensors have held at a time, of this process.
  virtual std::int64_t peak_bytes(int index) const = 0;
  virtual std::unique_ptr<Queue> make_queue(int index) = 0;
};

// Counts changes of the classes above; binary and module must agree.
inline constexpr std::uint32_t kModuleInterface = 2;
// What a module exports, as C symbols: the number that it was built with, and the object.
inline constexpr const char* kInterfaceSymbol = "limbic_module_interface";
inline constexpr const char* kMakeSymbol = "limbic_make_accelerator";
using InterfaceFunction = std::uint32_t();
using MakeFunction = Accelerator*();

// liblimbic_cuda.so in the folder of the running executable.
std::string module_path();

// Loads a module; it stays loaded to the end of the process. Throws ConfigError `PATH: got ...`: no
// such file, a library that does not load (with the loader's reason), one that is no module, or of
// another interface.
std::unique_ptr<Accelerator> load_accelerator(const std::string& path);

// The same, when `gpus` found a device and the module sees it, too. Throws ConfigError with the
// reason otherwise.
std::unique_ptr<Accelerator> open_accelerator(const GpuReport& gpus, const std::string& path);

}  // namespace limbic::device

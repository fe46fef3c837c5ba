// The GPU module: `Accelerator` over torch's CUDA libraries. Host code only, so it builds from the
// headers beside the torch wheel, without a toolkit.
#include <ATen/Context.h>
#include <ATen/cuda/CUDAContextLight.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "trainer/device/accelerator.h"

namespace limbic::device {
namespace {

constexpr int kFirstWithBf16 = 8;  // compute capability of Ampere

c10::DeviceIndex index_of(int index) { return static_cast<c10::DeviceIndex>(index); }

// A stream of torch's pool, which keeps it.
class CudaQueue final : public Queue {
 public:
  explicit CudaQueue(c10::DeviceIndex device)
      : stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device)) {}

  void* handle() const override { return stream_.stream(); }
  void follow() override {
    event_.record(c10::cuda::getCurrentCUDAStream(stream_.device_index()));
    event_.block(stream_);
  }
  bool done() override { return stream_.query(); }

 private:
  c10::cuda::CUDAStream stream_;
  c10::cuda::CUDAEvent event_;
};

class Cuda final : public Accelerator {
 public:
  int devices() const override { return c10::cuda::device_count(); }

  DeviceInfo info(int index) const override {
    const cudaDeviceProp& properties = *at::cuda::getDeviceProperties(index_of(index));
    const auto [free, total] =
        c10::cuda::CUDACachingAllocator::get()->getMemoryInfo(index_of(index));
    return {.name = properties.name,
            .major = properties.major,
            .minor = properties.minor,
            .total_bytes = static_cast<std::int64_t>(total),
            .free_bytes = static_cast<std::int64_t>(free),
            .bf16 = properties.major >= kFirstWithBf16,
            .address = fmt::format("{:04x}:{:02x}:{:02x}", properties.pciDomainID,
                                   properties.pciBusID, properties.pciDeviceID)};
  }

  void use(int index) override {
    at::globalContext().lazyInitDevice(at::kCUDA);
    c10::cuda::set_device(index_of(index));
  }

  void synchronize(int index) override {
    const c10::cuda::CUDAGuard guard(index_of(index));
    c10::cuda::device_synchronize();
  }

  std::int64_t peak_bytes(int index) const override {
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(index_of(index));
    constexpr auto kAll = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    return stats.allocated_bytes[kAll].peak;
  }

  std::unique_ptr<Queue> make_queue(int index) override {
    return std::make_unique<CudaQueue>(index_of(index));
  }
};

}  // namespace
}  // namespace limbic::device

extern "C" std::uint32_t limbic_module_interface() { return limbic::device::kModuleInterface; }

extern "C" limbic::device::Accelerator* limbic_make_accelerator() {
  return std::make_unique<limbic::device::Cuda>().release();
}

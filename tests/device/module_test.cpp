// The GPU module: loading it, and every reason not to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/device/on_devices.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"
#include "trainer/base/error.h"
#include "trainer/device/accelerator.h"

namespace limbic::device {
namespace {

using test::message_of;
using testing::HasSubstr;

std::string refusal(const GpuReport& gpus, const std::string& path) {
  return message_of<ConfigError>([&] { open_accelerator(gpus, path); });
}

// The libraries of torch need no driver to be loaded: the module counts what the driver shows.
TEST(Module, LoadsAnywhereAndCountsTheDevicesOfTheDriver) {
  EXPECT_EQ(load_accelerator(LIMBIC_CUDA_MODULE)->devices(), find_gpus().devices);
}

TEST(Module, IsNotLoadedWithoutADevice) {
  EXPECT_EQ(refusal({0, "no NVIDIA driver (libcuda.so.1)"}, "/nowhere/module.so"),
            "this machine has no NVIDIA driver (libcuda.so.1)");
}

TEST(Module, MissingFileIsNamed) {
  EXPECT_THAT(refusal({1, ""}, "/nowhere/module.so"),
              HasSubstr("/nowhere/module.so: got no such file"));
}

TEST(Module, WhatTheLoaderSaysIsPassedOn) {
  const test::TempFolder folder;
  const std::string path = folder.write("module.so", std::string(4096, 'x'));
  EXPECT_THAT(refusal({1, ""}, path), HasSubstr("does not load"));
  EXPECT_THAT(refusal({1, ""}, path), HasSubstr("invalid ELF header"));
}

TEST(Module, AnotherLibraryIsRefused) {
  EXPECT_THAT(refusal({1, ""}, LIMBIC_FOREIGN_LIBRARY), HasSubstr("limbic_module_interface"));
}

TEST(Module, AnotherInterfaceIsRefused) {
  EXPECT_THAT(refusal({1, ""}, LIMBIC_OLD_MODULE), HasSubstr("got interface 0, want 2"));
}

// A driver that torch's CUDA is too new for.
TEST(Module, ADriverWithoutDevicesForTorchIsNamed) {
  if (find_gpus().devices > 0) GTEST_SKIP() << "this machine has a GPU that torch can use";
  EXPECT_THAT(refusal({2, ""}, LIMBIC_CUDA_MODULE), HasSubstr("want the 2 of the driver"));
}

TEST(Module, TheFirstDeviceSaysWhatItIsAndHolds) {
  const Gpu gpu = open_gpu();
  if (!gpu.accelerator) GTEST_SKIP() << gpu.reason;
  gpu.accelerator->use(0);
  const DeviceInfo info = gpu.accelerator->info(0);
  EXPECT_FALSE(info.name.empty());
  EXPECT_GE(info.major, 5);
  EXPECT_EQ(info.bf16, info.major >= 8);
  EXPECT_GT(info.free_bytes, 0);
  EXPECT_LE(info.free_bytes, info.total_bytes);
  const std::int64_t before = gpu.accelerator->peak_bytes(0);
  const at::Tensor block = at::zeros({3 << 20}, at::TensorOptions().device(at::kCUDA));
  gpu.accelerator->synchronize(0);
  EXPECT_GE(gpu.accelerator->peak_bytes(0), before + (12 << 20));
}

// Neither the binary nor what it links links the part of torch that speaks to CUDA.
TEST(Module, IsNothingThatTheBinaryLinks) {
  const test::Ended linked = test::run_command({"ldd", test::limbic_binary()});
  EXPECT_EQ(linked.code, 0) << linked.err;
  EXPECT_THAT(linked.out, HasSubstr("libtorch_cpu.so"));
  EXPECT_THAT(linked.out, testing::Not(HasSubstr("libtorch_cuda.so")));
  EXPECT_THAT(linked.out, testing::Not(HasSubstr("libc10_cuda.so")));
}

TEST(Module, LiesBesideTheExecutable) {
  EXPECT_THAT(module_path(), testing::EndsWith("/tests/liblimbic_cuda.so"));
}

}  // namespace
}  // namespace limbic::device

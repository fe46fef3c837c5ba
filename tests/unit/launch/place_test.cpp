#include "launch/model/place.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"
#include "trainer/base/error.h"
#include "trainer/tensor/kernels/kernels.h"

namespace limbic::launch {
namespace {

using test::message_of;
using testing::HasSubstr;

TEST(Place, CpuIsTakenWhenAskedFor) {
  const Place place = choose_place(Device::kCpu, Dtype::kFloat32, true, "run.device");
  EXPECT_TRUE(place.device.is_cpu());
  EXPECT_EQ(place.compute, at::kFloat);
  EXPECT_EQ(place.accelerator, nullptr);
  EXPECT_EQ(place.peak_gpu_mb(), 0);
}

TEST(Place, AutoTypeOnACpuIsWhatItMultipliesNatively) {
  const at::ScalarType wanted = kernels::cpu_has_bf16() ? at::kBFloat16 : at::kFloat;
  EXPECT_EQ(choose_place(Device::kCpu, Dtype::kAuto, true, "x").compute, wanted);
  EXPECT_EQ(choose_place(Device::kCpu, Dtype::kBfloat16, true, "x").compute, at::kBFloat16);
}

TEST(Place, WithoutAGpuAutoIsTheCpuAndCudaAnError) {
  const device::GpuReport gpus = device::find_gpus();
  if (gpus.devices > 0) GTEST_SKIP() << "this machine has a GPU";
  EXPECT_TRUE(choose_place(Device::kAuto, Dtype::kAuto, true, "x").device.is_cpu());
  EXPECT_EQ(message_of<ConfigError>(
                [] { choose_place(Device::kCuda, Dtype::kAuto, true, "run.device"); }),
            "run.device: got cuda, want a GPU; this machine has " + gpus.reason);
}

TEST(Place, RanksTakeTheDevicesOfTheirMachineInTurn) {
  EXPECT_EQ(device_of_rank(0, 4), 0);
  EXPECT_EQ(device_of_rank(3, 4), 3);
  EXPECT_EQ(device_of_rank(5, 4), 1);
  EXPECT_EQ(device_of_rank(3, 1), 0);  // a launcher that shows each rank its own device only
}

}  // namespace
}  // namespace limbic::launch

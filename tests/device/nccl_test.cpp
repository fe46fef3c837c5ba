// NCCL itself: its interface as the header of the torch wheel declares it, and on machines with
// GPUs the checks that every communicator must pass. What NCCL does to training is tested with its
// double, on the CPU.
#include <gtest/gtest.h>
#include <nccl.h>

#include <cstddef>
#include <type_traits>

#include "tests/device/on_devices.h"
#include "tests/support/parallel/conformance.h"
#include "tests/unit/parallel/ranks.h"
#include "trainer/parallel/nccl/nccl_communicator.h"

namespace limbic::parallel {
namespace {

// The same size and the same way of being passed: an enumeration as a number, any pointer as a
// pointer, the id by its bytes.
template <class Theirs, class Ours>
constexpr bool same_argument() {
  if constexpr (std::is_enum_v<Theirs>) {
    return std::is_enum_v<Ours> && sizeof(Theirs) == sizeof(Ours);
  } else if constexpr (std::is_pointer_v<Theirs>) {
    return std::is_pointer_v<Ours>;
  } else if constexpr (std::is_same_v<Theirs, ncclUniqueId>) {
    return std::is_same_v<Ours, nccl::UniqueId> && sizeof(Theirs) == sizeof(Ours) &&
           alignof(Theirs) == alignof(Ours);
  } else {
    return std::is_same_v<Theirs, Ours>;
  }
}
template <class Theirs, class Ours>
constexpr bool kFits = false;
template <class Result, class... Arguments, class OurResult, class... OurArguments>
requires(sizeof...(Arguments) ==
         sizeof...(OurArguments)) constexpr bool kFits<Result(Arguments...),
                                                       OurResult (*)(OurArguments...)> =
    same_argument<Result, OurResult>() && (same_argument<Arguments, OurArguments>() && ...);

TEST(NcclHeader, DeclaresTheFunctionsOfTheTable) {
  EXPECT_TRUE((kFits<decltype(ncclGetVersion), decltype(nccl::Table::get_version)>));
  EXPECT_TRUE((kFits<decltype(ncclGetUniqueId), decltype(nccl::Table::get_unique_id)>));
  EXPECT_TRUE((kFits<decltype(ncclCommInitRankConfig), decltype(nccl::Table::init_rank)>));
  EXPECT_TRUE((kFits<decltype(ncclCommFinalize), decltype(nccl::Table::finalize)>));
  EXPECT_TRUE((kFits<decltype(ncclCommDestroy), decltype(nccl::Table::destroy)>));
  EXPECT_TRUE((kFits<decltype(ncclCommAbort), decltype(nccl::Table::abort)>));
  EXPECT_TRUE((kFits<decltype(ncclCommGetAsyncError), decltype(nccl::Table::get_async_error)>));
  EXPECT_TRUE((kFits<decltype(ncclGetErrorString), decltype(nccl::Table::error_string)>));
  EXPECT_TRUE((kFits<decltype(ncclGetLastError), decltype(nccl::Table::last_error)>));
  EXPECT_TRUE((kFits<decltype(ncclAllReduce), decltype(nccl::Table::all_reduce)>));
  EXPECT_TRUE((kFits<decltype(ncclReduceScatter), decltype(nccl::Table::reduce_scatter)>));
  EXPECT_TRUE((kFits<decltype(ncclAllGather), decltype(nccl::Table::all_gather)>));
  EXPECT_TRUE((kFits<decltype(ncclBroadcast), decltype(nccl::Table::broadcast)>));
}

TEST(NcclHeader, HasTheNumbersOfTheTable) {
  EXPECT_EQ(static_cast<int>(nccl::Result::kSuccess), ncclSuccess);
  EXPECT_EQ(static_cast<int>(nccl::Result::kUnhandledCudaError), ncclUnhandledCudaError);
  EXPECT_EQ(static_cast<int>(nccl::Result::kSystemError), ncclSystemError);
  EXPECT_EQ(static_cast<int>(nccl::Result::kInternalError), ncclInternalError);
  EXPECT_EQ(static_cast<int>(nccl::Result::kInvalidArgument), ncclInvalidArgument);
  EXPECT_EQ(static_cast<int>(nccl::Result::kInvalidUsage), ncclInvalidUsage);
  EXPECT_EQ(static_cast<int>(nccl::Result::kRemoteError), ncclRemoteError);
  EXPECT_EQ(static_cast<int>(nccl::Result::kInProgress), ncclInProgress);
  EXPECT_EQ(static_cast<int>(nccl::DataType::kUint8), ncclUint8);
  EXPECT_EQ(static_cast<int>(nccl::DataType::kInt64), ncclInt64);
  EXPECT_EQ(static_cast<int>(nccl::DataType::kFloat32), ncclFloat32);
  EXPECT_EQ(static_cast<int>(nccl::DataType::kFloat64), ncclFloat64);
  EXPECT_EQ(static_cast<int>(nccl::DataType::kBfloat16), ncclBfloat16);
  EXPECT_EQ(static_cast<int>(nccl::Operation::kSum), ncclSum);
}

TEST(NcclHeader, BeginsItsConfigAsTheTableDoes) {
  const ncclConfig_t theirs = NCCL_CONFIG_INITIALIZER;
  const nccl::Config ours;
  EXPECT_EQ(ours.magic, theirs.magic);
  EXPECT_LE(ours.version, theirs.version);
  EXPECT_LE(sizeof ours, sizeof theirs);
  EXPECT_EQ(offsetof(nccl::Config, size), offsetof(ncclConfig_t, size));
  EXPECT_EQ(offsetof(nccl::Config, magic), offsetof(ncclConfig_t, magic));
  EXPECT_EQ(offsetof(nccl::Config, version), offsetof(ncclConfig_t, version));
  EXPECT_EQ(offsetof(nccl::Config, blocking), offsetof(ncclConfig_t, blocking));
}

// Ranks are threads with a GPU each.
class OnGpus : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    const int ranks = GetParam();
    if (!gpu_.accelerator) GTEST_SKIP() << gpu_.reason;
    const int devices = gpu_.accelerator->devices();
    if (devices < ranks) GTEST_SKIP() << "got " << devices << " GPUs, want " << ranks;
  }
  template <class Play>
  std::vector<std::exception_ptr> outcomes(Play play) {
    const nccl::Library library = nccl::load();
    return outcomes_of_ranks(GetParam(), [&](Communicator& control) {
      const at::Device device(at::kCUDA, static_cast<at::DeviceIndex>(control.rank()));
      gpu_.accelerator->use(control.rank());
      const auto rank =
          make_nccl(control, library.table,
                    {.device = device, .queue = gpu_.accelerator->make_queue(control.rank())},
                    kTestTimeoutSeconds);
      play(*rank, device);
    });
  }

 private:
  Gpu gpu_ = open_gpu();
};
INSTANTIATE_TEST_SUITE_P(Nccl, OnGpus, testing::Values(1, 2), testing::PrintToStringParamName());

TEST_P(OnGpus, EveryCheckHolds) {
  for (const Check& check : conformance_checks()) {
    const auto ended = outcomes([&](Communicator& c, at::Device device) {
      check.run({.communicator = c, .device = device, .rank_order = c.size() == 1});
    });
    for (std::size_t r = 0; r < ended.size(); ++r) {
      EXPECT_FALSE(ended[r]) << check.name << ": rank " << r << ": "
                             << message_of_outcome<WrongResult>(ended[r]);
    }
  }
}

// A collective takes what the thread has started to compute, not what was there before.
TEST_P(OnGpus, ACollectiveFollowsWhatIsComputed) {
  const auto ended = outcomes([](Communicator& c, at::Device device) {
    const at::Tensor factor = at::full({2048, 2048}, 1.0 / 2048, device);
    at::Tensor product = at::ones({2048, 2048}, device);
    for (int i = 0; i < 50; ++i) product = at::mm(product, factor);
    c.all_reduce_sum(product);
    const at::Tensor wrong = (product - c.size()).abs().max();
    expect(wrong.item<float>() < 1e-2, "the sum was taken before its addends were there");
  });
  for (const auto& outcome : ended) {
    EXPECT_FALSE(outcome) << message_of_outcome<WrongResult>(outcome);
  }
}

}  // namespace
}  // namespace limbic::parallel

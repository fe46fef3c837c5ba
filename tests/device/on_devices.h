// Where the tests of this folder run: on the CPU by the ATen formulas, which every machine can do,
// and on the first GPU of a machine that has one (skipped elsewhere, with the reason). Results are
// compared with those of the fused CPU kernels.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/support/tiny_model.h"
#include "trainer/base/error.h"
#include "trainer/device/accelerator.h"

namespace limbic {

enum class Target { kCpuByAten, kGpu };

struct Gpu {
  std::unique_ptr<device::Accelerator> accelerator;  // null without one
  std::string reason;
};

inline Gpu open_gpu() {
  try {
    return {device::open_accelerator(device::find_gpus(), LIMBIC_CUDA_MODULE), ""};
  } catch (const ConfigError& error) {
    return {nullptr, error.what()};
  }
}

class OnDevices : public ::testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    static const Gpu gpu = open_gpu();  // before any test asks torch for CUDA
    if (GetParam() == Target::kCpuByAten) return;
    if (!gpu.accelerator) GTEST_SKIP() << gpu.reason;
    gpu.accelerator->use(0);
    device_ = at::Device(at::kCUDA, 0);
  }

  at::Device device() const { return device_; }
  // Of float32 results, relative to the largest.
  double tolerance() const { return device_.is_cpu() ? 1e-5 : 1e-4; }

  // The same weights for both.
  static model::Decoder by_kernels(model::WeightUse use, const Json& config,
                                   at::ScalarType type = at::kFloat) {
    return model::tiny_model(use, type, config);
  }
  model::Decoder on_device(model::WeightUse use, const Json& config,
                           at::ScalarType type = at::kFloat) const {
    model::Decoder decoder(model::ModelConfig::parse(config, "tiny"), type, device_, Math::kAten);
    model::initialize_weights(decoder, 5, use);
    return decoder;
  }

 private:
  at::Device device_ = at::kCPU;
};

inline std::string name_of_target(const ::testing::TestParamInfo<Target>& info) {
  return info.param == Target::kGpu ? "Gpu" : "CpuByAten";
}

// One per family of models.
inline std::vector<Json> configs() {
  std::vector<Json> out;
  for (const char* architecture : {"LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}) {
    Json config = model::tiny_config();
    config["architectures"] = Json::array({architecture});
    config["tie_word_embeddings"] = out.size() == 1;
    out.push_back(config);
  }
  return out;
}

// Largest difference relative to the largest of what is wanted.
inline double distance(const at::Tensor& got, const at::Tensor& want) {
  EXPECT_EQ(got.sizes(), want.sizes());
  const at::Tensor a = got.detach().cpu().to(at::kDouble);
  const at::Tensor b = want.detach().to(at::kDouble);
  return ((a - b).abs().max() / b.abs().max().clamp_min(1e-12)).item<double>();
}

}  // namespace limbic

// Small checkpoints for tests.
#pragma once

#include <ATen/ATen.h>

#include <cstring>
#include <string>

#include "trainer/base/file.h"
#include "trainer/checkpoint/checkpoint.h"

namespace limbic::checkpoint {

inline constexpr const char* kFiles[] = {"state.safetensors", "state.json", "MANIFEST.json"};

// Every bit pattern that arithmetic would not keep: NaN payloads, -0, the smallest numbers.
inline CheckpointContent content_of(std::int64_t step) {
  const at::Tensor bits = at::tensor(std::vector<std::int32_t>{
      0x7fc00001, static_cast<std::int32_t>(0xffc12345), static_cast<std::int32_t>(0x80000000), 1,
      0x7f800000, static_cast<std::int32_t>(step)});
  return {.tensors = {{"weights", bits.view(at::kFloat).view({2, 3})},
                      {"halves", at::arange(5, at::kBFloat16) + step},
                      {"counts", at::tensor(std::vector<std::int64_t>{step, -1})},
                      {"nothing", at::empty({0, 4})},
                      {"scalar", at::tensor(0.1, at::kDouble)}},
          .state = {{"step", step},
                    {"third", 1.0 / 3.0},
                    {"none", nullptr},
                    {"text", "ü\n"},
                    {"order", {{"z", 1}, {"a", 2}}}}};
}

inline Json info_of(std::int64_t step) {
  return {{"stage", "sft"}, {"config_hash", "abc"}, {"world", 2}, {"of", step}};
}

// Empty when `got` is what content_of(step) was saved as.
inline std::string difference_of(const LoadedCheckpoint& got, std::int64_t step) {
  const CheckpointContent want = content_of(step);
  if (got.step != step) return "step";
  if (got.state.dump() != want.state.dump()) return "state";
  if (got.info.dump() != info_of(step).dump()) return "info";
  if (got.tensors.size() != want.tensors.size()) return "number of tensors";
  for (const NamedTensor& tensor : want.tensors) {
    bool found = false;
    for (const NamedTensor& loaded : got.tensors) {
      if (loaded.name != tensor.name) continue;
      found = loaded.tensor.scalar_type() == tensor.tensor.scalar_type() &&
              loaded.tensor.sizes() == tensor.tensor.sizes() &&
              (tensor.tensor.nbytes() == 0 ||
               std::memcmp(loaded.tensor.data_ptr(), tensor.tensor.data_ptr(),
                           tensor.tensor.nbytes()) == 0);
    }
    if (!found) return tensor.name;
  }
  return "";
}

inline void save(parallel::Communicator& communicator, const std::string& folder, std::int64_t step,
                 std::int64_t keep) {
  save_replicated(communicator, folder, step, content_of(step), info_of(step), keep);
}

}  // namespace limbic::checkpoint

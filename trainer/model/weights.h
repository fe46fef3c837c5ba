// Hugging Face tensor names <-> the decoder's matrices: loading, random initialisation, export.
#pragma once

#include <functional>
#include <string>

#include "trainer/model/decoder.h"
#include "trainer/tensor/named_tensors.h"

namespace limbic::model {

// kTrained keeps float32 leaves that require gradients; kFrozen keeps the compute copies only.
enum class WeightUse { kTrained, kFrozen };

// One Hugging Face tensor: `rows` rows from `row` of a matrix of the decoder (or a whole vector).
struct WeightSlot {
  std::string name;              // "model.layers.0.self_attn.q_proj.weight"
  Linear* linear = nullptr;      // owner when the tensor is (part of) a linear weight or bias
  at::Tensor* vector = nullptr;  // owner when it is a norm weight
  bool is_bias = false;
  std::int64_t row = 0;
  std::vector<std::int64_t> shape;  // as saved
};

// Every tensor of the model in a fixed order.
std::vector<WeightSlot> weight_slots(Decoder& decoder);

// Copies a tensor of `file` into its place. Throws DataError naming file and tensor: another shape,
// anything but plain floating point, values that are not finite (or not in the type of the place).
void copy_tensor(at::Tensor place, const at::Tensor& tensor, const std::string& file,
                 const std::string& name);

// The config of a folder as its weights have it: embeddings that config.json calls tied are not
// when the folder has another `lm_head.weight` beside them (as transformers does it); `raw` says so
// too. Throws DataError.
ModelConfig read_model_config(const std::string& folder);

// Fills a fresh decoder from a folder's safetensors. Throws DataError naming file and tensor:
// missing and foreign tensors, a head that differs from the embeddings it is tied to, and what
// `copy_tensor` refuses.
void load_weights(Decoder& decoder, const std::string& folder, WeightUse use);

// Normal(0, initializer_range), norms that multiply by 1, biases 0; every tensor has its own random
// stream.
void initialize_weights(Decoder& decoder, std::uint64_t seed, WeightUse use);

// All tensors under their Hugging Face names, float32 where they are trained, else in the compute
// type; views of the decoder's memory. Tied heads are left out.
NamedTensors export_weights(const Decoder& decoder);

// Gradients of the trained tensors under the same names (for tests and reports).
NamedTensors export_gradients(const Decoder& decoder);

}  // namespace limbic::model

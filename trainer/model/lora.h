// Low-rank adapters: attaching, reading and writing PEFT folders, merging.
// Source: arXiv:2106.09685; file layout as PEFT writes it.
#pragma once

#include <string>
#include <vector>

#include "trainer/model/decoder.h"
#include "trainer/model/peft/adapter_config.h"
#include "trainer/tensor/named_tensors.h"

namespace limbic::model {

// Adds adapters to a frozen decoder: A uniform in +-1/sqrt(in), B zero, float32, trained or not.
// Throws ConfigError when a target names no module, or for a module to save that limbic cannot
// train beside adapters.
void attach_lora(Decoder& decoder, const LoraConfig& config, std::uint64_t seed, bool trained);

// Reads a PEFT folder onto a frozen decoder. Throws DataError: missing file, other kinds of
// adapter, a tensor that matches no module, a module without its tensors, wrong shapes. Modules
// that were saved as a whole take the place of the model's, which stay the base.
LoraConfig load_adapter(Decoder& decoder, const std::string& folder, bool trained);

// Tensors under PEFT's names, float32; views of the adapters' memory. Modules to save are last.
NamedTensors export_adapter(const Decoder& decoder);
// Gradients under the same names.
NamedTensors export_adapter_gradients(const Decoder& decoder);

// Writes adapter_config.json and adapter_model.safetensors.
void save_adapter(const Decoder& decoder, const LoraConfig& config, const std::string& folder,
                  const std::string& base_model);

struct MergeReport {
  std::int64_t modules = 0;
  double largest_change = 0.0;   // max |delta W|
  double relative_change = 0.0;  // ||delta W|| / ||W|| over all merged modules
};
// Folds the adapters into float32 copies of the weights: W + scale * B A. The decoder must be
// float32.
NamedTensors merged_weights(const Decoder& decoder, MergeReport& report);

}  // namespace limbic::model

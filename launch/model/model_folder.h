// Writing a complete Hugging Face model folder.
#pragma once

#include <string>

#include "launch/model/model_card.h"
#include "trainer/model/decoder.h"
#include "trainer/model/lora.h"
#include "trainer/tensor/named_tensors.h"

namespace limbic::launch {

// The files beside the weights that loaders look for (tokenizer, template, generation), byte for
// byte; `chat_template` (may be empty) replaces the source's template. And the card as README.md.
// Throws DataError.
void write_companions(const std::string& source, const std::string& chat_template,
                      const ModelCard& card, const std::string& target);

// model.safetensors from `tensors` in `type`, config.json (its dtype set), and the companions.
// Throws DataError.
void write_model_folder(const std::string& source, const std::string& chat_template,
                        const model::Decoder& decoder, const NamedTensors& tensors,
                        at::ScalarType type, const ModelCard& card, const std::string& target);

struct MergeResult {
  model::MergeReport report;
  // Largest difference between a log-probability of the adapted model and of the folder read again.
  double drift = 0.0;
};
// Folds an adapter into the weights of `source`, in float32, and reads the folder again: its
// tensors must be those that were merged, and in float32 it must compute what the adapted model
// does. Throws DataError.
MergeResult merge_adapter(const std::string& source, const std::string& adapter,
                          const std::string& chat_template, at::ScalarType type,
                          const ModelCard& card, const std::string& target);

}  // namespace limbic::launch

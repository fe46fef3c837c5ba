// Writing a complete Hugging Face model folder.
#pragma once

#include <string>

#include "trainer/model/decoder.h"
#include "trainer/model/lora.h"
#include "trainer/tensor/named_tensors.h"

namespace limbic::launch {

// model.safetensors from `tensors` in `type`, config.json (its dtype set), and the tokenizer files
// of `source`; `chat_template` (may be empty) replaces the source's template. Throws DataError.
void write_model_folder(const std::string& source, const std::string& chat_template,
                        const model::Decoder& decoder, const NamedTensors& tensors,
                        at::ScalarType type, const std::string& target);

// Folds an adapter into the weights of `source`. Throws DataError.
model::MergeReport merge_adapter(const std::string& source, const std::string& adapter,
                                 const std::string& chat_template, at::ScalarType type,
                                 const std::string& target);

}  // namespace limbic::launch

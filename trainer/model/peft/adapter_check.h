// What a loader other than limbic makes of a PEFT LoRA folder: everything that it would refuse, and
// everything that it would pass over without a word.
//
// The rules are those of peft 0.21, vLLM's `--enable-lora` and llama.cpp's convert_lora_to_gguf.
#pragma once

#include <string>
#include <vector>

#include "trainer/base/fields.h"
#include "trainer/model/model_config.h"

namespace limbic::model {

enum class AdapterTarget { kPeft, kVllm, kLlamacpp };

struct AdapterFinding {
  enum class Weight {
    kNote,     // works, but somebody has to know
    kRefused,  // the loader stops
    kSilent,   // the loader goes on, and part of the adapter does nothing or something else
  };
  Weight weight;
  std::string text;  // what is there, what the loader does, what to do
};

struct AdapterReport {
  std::int64_t tensors = 0;
  std::int64_t matched = 0;  // tensors that land on a module of the model
  std::vector<AdapterFinding> findings;
  bool usable() const;  // nothing but notes
};

// Throws DataError: a folder that cannot be read, or that holds no LoRA at all.
AdapterReport check_adapter(const ModelConfig& model, const std::string& folder,
                            AdapterTarget target);

}  // namespace limbic::model

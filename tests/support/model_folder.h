// A complete Hugging Face model folder of a few kilobytes, written without limbic's own code.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/base/fields.h"

namespace limbic::test {

// A float32 tensor of a safetensors file.
struct FileTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};
void write_tensors(const std::string& path, const std::vector<FileTensor>& tensors);

// A Llama with 2 layers of 32, 4 query and 2 key heads, 256 positions, for the tokenizer below.
Json tiny_config();
// Its weights for a vocabulary, uniform in +-0.15 (norms 1), the same for the same seed.
std::vector<FileTensor> tiny_weights(std::uint64_t seed = 1,
                                     std::int64_t vocabulary = tiny_config().at("vocab_size"));

// config.json, model.safetensors, the byte-level tokenizer of the template tests and a ChatML
// template whose end of turn <|im_end|> is the end-of-sequence token.
void write_tiny_model(const std::string& folder, std::uint64_t seed = 1);

}  // namespace limbic::test

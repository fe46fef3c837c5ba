// A model folder with its tokenizer and chat template, ready to run.
#pragma once

#include <memory>
#include <string>

#include "data/template/chat_template.h"
#include "data/tokenizer/tokenizer.h"
#include "launch/config/run_config.h"
#include "launch/model/place.h"
#include "trainer/model/decoder.h"
#include "trainer/model/weights.h"

namespace limbic::launch {

// Threads of this process: `wanted`, else OMP_NUM_THREADS, else cores / local ranks.
void set_threads(std::int64_t wanted);

struct Text {
  data::Tokenizer tokenizer;
  data::ChatTemplate chat_template;
};
// Throws DataError.
Text load_text(const std::string& folder, const std::string& chat_template);

// Reads (or makes) the weights of a folder.
std::unique_ptr<model::Decoder> load_decoder(const std::string& folder, Init init,
                                             std::uint64_t seed, at::ScalarType compute,
                                             at::Device device, model::WeightUse use);

// Options that the commands on a model share.
struct ModelOptions {
  std::string model;
  std::string adapter;
  std::string chat_template;
  Device device = Device::kAuto;
  Dtype dtype = Dtype::kAuto;
  std::int64_t threads = 0;
};

struct LoadedModel {
  Text text;
  std::unique_ptr<model::Decoder> decoder;
};
// For inference: frozen weights, the adapter applied. Throws ConfigError, DataError.
LoadedModel load_model(const ModelOptions& options);

}  // namespace limbic::launch

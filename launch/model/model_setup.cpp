#include "launch/model/model_setup.h"

#include <ATen/Parallel.h>

#include <cstdlib>
#include <thread>

#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/model/lora.h"

namespace limbic::launch {
namespace {

std::int64_t number_from_environment(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) return 0;
  return std::strtoll(text, nullptr, 10);
}

}  // namespace

void set_threads(std::int64_t wanted) {
  std::int64_t threads = wanted;
  if (threads == 0) threads = number_from_environment("OMP_NUM_THREADS");
  if (threads <= 0) {
    threads = std::max<std::int64_t>(
        1, static_cast<std::int64_t>(std::thread::hardware_concurrency()) / local_ranks());
  }
  at::set_num_threads(static_cast<int>(threads));
}

Text load_text(const std::string& folder, const std::string& chat_template) {
  if (!is_folder(folder)) {
    throw DataError(
        fmt::format("{}: got no such folder, want a Hugging Face model folder", folder));
  }
  return {data::Tokenizer::load(folder), data::ChatTemplate::load(folder, chat_template)};
}

std::unique_ptr<model::Decoder> load_decoder(const std::string& folder, Init init,
                                             std::uint64_t seed, at::ScalarType compute,
                                             at::Device device, model::WeightUse use) {
  const bool random = init == Init::kRandom;
  auto decoder = std::make_unique<model::Decoder>(
      random ? model::ModelConfig::load(folder) : model::read_model_config(folder), compute,
      device);
  if (random) {
    model::initialize_weights(*decoder, seed, use);
  } else {
    model::load_weights(*decoder, folder, use);
  }
  return decoder;
}

LoadedModel load_model(const ModelOptions& options) {
  set_threads(options.threads);
  const Place place = choose_place(options.device, options.dtype, true, "--device");
  LoadedModel loaded{load_text(options.model, options.chat_template), nullptr};
  loaded.decoder = load_decoder(options.model, Init::kPretrained, 0, place.compute, place.device,
                                model::WeightUse::kFrozen);
  if (!options.adapter.empty()) model::load_adapter(*loaded.decoder, options.adapter, false);
  return loaded;
}

}  // namespace limbic::launch

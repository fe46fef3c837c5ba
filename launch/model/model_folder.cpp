#include "launch/model/model_folder.h"

#include <filesystem>

#include "launch/model/model_setup.h"
#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/tensor/safetensors.h"

namespace limbic::launch {
namespace {

namespace fs = std::filesystem;

// Everything beside the weights that loaders look for.
constexpr const char* kCompanions[] = {"generation_config.json",
                                       "tokenizer.json",
                                       "tokenizer_config.json",
                                       "special_tokens_map.json",
                                       "added_tokens.json",
                                       "vocab.json",
                                       "merges.txt",
                                       "chat_template.jinja"};

}  // namespace

void write_model_folder(const std::string& source, const std::string& chat_template,
                        const model::Decoder& decoder, const NamedTensors& tensors,
                        at::ScalarType type, const std::string& target) {
  fs::create_directories(target);
  for (const char* name : kCompanions) {
    if (!fs::exists(source + "/" + name)) continue;
    fs::copy_file(source + "/" + name, target + "/" + name, fs::copy_options::overwrite_existing);
  }
  if (!chat_template.empty()) {
    fs::copy_file(chat_template, target + "/chat_template.jinja",
                  fs::copy_options::overwrite_existing);
  }
  Json config = decoder.config().raw;
  const std::string dtype = type == at::kBFloat16 ? "bfloat16" : "float32";
  config["dtype"] = dtype;
  if (config.contains("torch_dtype")) config["torch_dtype"] = dtype;
  write_file_atomically(target + "/config.json", config.dump(2) + "\n");
  NamedTensors typed;
  for (const NamedTensor& tensor : tensors) {
    typed.push_back({tensor.name, tensor.tensor.detach().to(type)});
  }
  write_safetensors(target + "/model.safetensors", typed);
}

model::MergeReport merge_adapter(const std::string& source, const std::string& adapter,
                                 const std::string& chat_template, at::ScalarType type,
                                 const std::string& target) {
  const auto decoder =
      load_decoder(source, Init::kPretrained, 0, at::kFloat, at::kCPU, model::WeightUse::kFrozen);
  model::load_adapter(*decoder, adapter, false);
  model::MergeReport report;
  write_model_folder(source, chat_template, *decoder, model::merged_weights(*decoder, report), type,
                     target);
  return report;
}

}  // namespace limbic::launch

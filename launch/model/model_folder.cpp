#include "launch/model/model_folder.h"

#include <algorithm>
#include <filesystem>

#include "launch/model/model_setup.h"
#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/base/seed.h"
#include "trainer/tensor/safetensors.h"

namespace limbic::launch {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCompanions[] = {"generation_config.json",
                                       "tokenizer.json",
                                       "tokenizer_config.json",
                                       "tokenizer.model",
                                       "special_tokens_map.json",
                                       "added_tokens.json",
                                       "vocab.json",
                                       "merges.txt",
                                       "chat_template.jinja",
                                       "additional_chat_templates"};

// What float32 sums in another order may differ by, far above what they do.
constexpr double kLargestDrift = 1e-2;

// Log-probabilities of a fixed sequence of tokens, float32.
at::Tensor probe(const model::Decoder& decoder) {
  const at::NoGradGuard no_grad;
  const std::int64_t length = std::min<std::int64_t>(48, decoder.config().max_position_embeddings);
  const auto vocabulary = static_cast<std::uint64_t>(decoder.config().vocab_size);
  std::vector<std::int32_t> tokens, positions;
  for (std::int64_t i = 0; i < length; ++i) {
    tokens.push_back(static_cast<std::int32_t>(mix64(static_cast<std::uint64_t>(i)) % vocabulary));
    positions.push_back(static_cast<std::int32_t>(i));
  }
  const at::Tensor ids = at::tensor(tokens, at::kInt);
  const at::Tensor hidden = decoder.hidden(
      {.tokens = ids, .positions = at::tensor(positions, at::kInt), .offsets = {0, length}}, {});
  return decoder.scores(hidden.slice(0, 0, length - 1), ids.slice(0, 1)).logprobs;
}

// The file must hold the very numbers that were to be written.
void expect_written(const std::string& folder, const NamedTensors& tensors, at::ScalarType type) {
  const SafetensorsFolder file = SafetensorsFolder::open(folder);
  for (const NamedTensor& item : tensors) {
    if (!at::equal(file.tensor(item.name), item.tensor.detach().to(type))) {
      throw DataError(fmt::format(
          "{}: {}: got other values than were written, want the merged ones", folder, item.name));
    }
  }
}

}  // namespace

void write_companions(const std::string& source, const std::string& chat_template,
                      const ModelCard& card, const std::string& target) {
  const auto how = fs::copy_options::overwrite_existing | fs::copy_options::recursive;
  fs::create_directories(target);
  for (const char* name : kCompanions) {
    if (fs::exists(source + "/" + name)) fs::copy(source + "/" + name, target + "/" + name, how);
  }
  if (!chat_template.empty()) fs::copy(chat_template, target + "/chat_template.jinja", how);
  write_file_atomically(target + "/README.md", card_text(card));
}

void write_model_folder(const std::string& source, const std::string& chat_template,
                        const model::Decoder& decoder, const NamedTensors& tensors,
                        at::ScalarType type, const ModelCard& card, const std::string& target) {
  write_companions(source, chat_template, card, target);
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

MergeResult merge_adapter(const std::string& source, const std::string& adapter,
                          const std::string& chat_template, at::ScalarType type,
                          const ModelCard& card, const std::string& target) {
  MergeResult result;
  at::Tensor adapted;
  {
    const auto decoder =
        load_decoder(source, Init::kPretrained, 0, at::kFloat, at::kCPU, model::WeightUse::kFrozen);
    model::load_adapter(*decoder, adapter, false);
    adapted = probe(*decoder);
    const NamedTensors merged = model::merged_weights(*decoder, result.report);
    write_model_folder(source, chat_template, *decoder, merged, type, card, target);
    expect_written(target, merged, type);
  }
  const auto again =
      load_decoder(target, Init::kPretrained, 0, at::kFloat, at::kCPU, model::WeightUse::kFrozen);
  result.drift = (probe(*again) - adapted).abs().max().item<double>();
  if (!(result.drift <= kLargestDrift) && type == at::kFloat) {
    throw DataError(fmt::format(
        "{}: got log-probabilities {:.3g} away from those of the adapter, want at most {}; the "
        "merged folder computes something else",
        target, result.drift, kLargestDrift));
  }
  return result;
}

}  // namespace limbic::launch

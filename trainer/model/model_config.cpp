#include "trainer/model/model_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/base/json_file.h"
#include "trainer/model/config/families.h"
#include "trainer/model/config/json_reader.h"

namespace limbic::model {
namespace {

void read_token_ids(const Json& json, const std::string& where, std::vector<std::int32_t>& out) {
  if (!json.contains("eos_token_id") || json.at("eos_token_id").is_null()) return;
  out.clear();
  const Json& value = json.at("eos_token_id");
  const Json list = value.is_array() ? value : Json::array({value});
  for (const Json& item : list) {
    const bool fits = item.is_number_integer() && item.get<std::int64_t>() <= INT32_MAX &&
                      item.get<std::int64_t>() >= INT32_MIN;
    if (!fits) {
      throw DataError(fmt::format("{}: eos_token_id: got {}, want a token id or a list of them",
                                  where, value.dump()));
    }
    out.push_back(item.get<std::int32_t>());
  }
}

}  // namespace

ModelConfig ModelConfig::load(const std::string& folder) {
  if (!is_folder(folder)) {
    throw DataError(
        fmt::format("{}: got no such folder, want a Hugging Face model folder with "
                    "config.json, model.safetensors and tokenizer.json",
                    folder));
  }
  const std::string path = folder + "/config.json";
  ModelConfig config = parse(read_json_object(path), path);
  const std::string generation = folder + "/generation_config.json";
  if (is_named(generation)) {
    read_token_ids(read_json_object(generation), generation, config.eos_token_ids);
  }
  return config;
}

ModelConfig ModelConfig::parse(const Json& json, const std::string& where) {
  const JsonReader config(json, where);
  ModelConfig out;
  out.raw = json;
  if (!config.has("architectures") || !json.at("architectures").is_array() ||
      json.at("architectures").size() != 1 || !json.at("architectures")[0].is_string()) {
    config.fail("architectures",
                config.has("architectures") ? json.at("architectures").dump() : "nothing",
                "a list with one architecture such as LlamaForCausalLM");
  }
  if (config.has("quantization_config")) {
    config.fail("quantization_config", json.at("quantization_config").dump(),
                "none; limbic reads no quantized weights");
  }
  out.architecture = json.at("architectures")[0].get<std::string>();
  read_family(config, out);
  read_token_ids(json, where, out.eos_token_ids);
  return out;
}

void ModelConfig::check_tokens(std::span<const std::int32_t> tokens) const {
  const auto foreign = std::ranges::find_if(
      tokens, [&](std::int32_t token) { return token < 0 || token >= vocab_size; });
  if (foreign == tokens.end()) return;
  throw DataError(
      fmt::format("got the token id {}, want ids below the model's vocab_size {}; do the tokenizer "
                  "and the model belong together?",
                  *foreign, vocab_size));
}

void ModelConfig::check_continuation(std::int64_t first, std::int64_t length) const {
  for (const RopeConfig& rope : ropes) {
    const auto boundary = static_cast<std::int64_t>(rope.original_positions);
    if (rope.kind != RopeConfig::Kind::kLongrope || first > boundary || length <= boundary) {
      continue;
    }
    throw DataError(
        fmt::format("got {} tokens that may grow to {}, want both within the {} positions up to "
                    "which the model's longrope has its short factors, or both beyond",
                    first, length, boundary));
  }
}

}  // namespace limbic::model

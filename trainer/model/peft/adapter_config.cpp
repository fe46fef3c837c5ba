#include "trainer/model/peft/adapter_config.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <regex>

#include "trainer/base/error.h"
#include "trainer/base/json_file.h"

namespace limbic::model {
namespace {

constexpr double kMaxRank = 4096;

bool is_name(const std::string& target) {
  return std::ranges::all_of(target, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '.' || c == '-';
  });
}

bool matches(const std::string& expression, const std::string& module) {
  return std::regex_match(module, std::regex(expression));
}

constexpr const char* kExpression = "a name or a regular expression of ECMAScript";

bool is_expression(const std::string& text) {
  try {
    std::regex compiled(text);
    return true;
  } catch (const std::regex_error&) {
    return false;
  }
}

// PEFT's rule for patterns: the first key that matches the name, or the end of it behind a dot.
const double* find(const Pattern& pattern, const std::string& module) {
  for (const auto& [key, value] : pattern) {
    if (matches("(?:.*\\.)?(?:" + key + ")", module)) return &value;
  }
  return nullptr;
}

Pattern read_pattern(const JsonReader& config, const char* key, bool whole) {
  Pattern out;
  if (!config.has(key)) return out;
  for (const auto& [expression, value] : config.section(key).json().items()) {
    const bool good = whole ? value.is_number_integer() && value > 0 && value <= kMaxRank
                            : value.is_number() && value > 0;
    if (!good) {
      config.fail(key, value.dump(), whole ? "whole numbers from 1 to 4096" : "numbers above 0");
    }
    out.emplace_back(expression, value.get<double>());
  }
  return out;
}

std::vector<std::string> read_names(const JsonReader& config, const char* key) {
  std::vector<std::string> names;
  const Json& list = config.json().at(key);
  for (const Json& item : list.is_array() ? list : Json::array({nullptr})) {
    if (!item.is_string()) config.fail(key, list.dump(), "a list of names");
    names.push_back(item.get<std::string>());
  }
  return names;
}

std::vector<std::string> read_targets(const JsonReader& config) {
  const char* key = "target_modules";
  const std::string want = "a list of names, all-linear or a regular expression";
  if (!config.has(key) || config.json().at(key).empty()) config.fail(key, "nothing", want);
  if (!config.json().at(key).is_string()) {
    if (!config.json().at(key).is_array()) config.fail(key, config.json().at(key).dump(), want);
    return read_names(config, key);
  }
  const std::string text = config.text_or(key, "");
  return {text};
}

// What PEFT can do beside plain LoRA; it would be read as something that it is not.
void refuse_others(const JsonReader& config) {
  const Json& json = config.json();
  for (const char* key : {"use_dora", "fan_in_fan_out", "lora_bias", "use_qalora"}) {
    if (config.flag_or(key, false)) config.fail(key, "true", "false; limbic reads plain LoRA");
  }
  for (const char* key :
       {"layers_to_transform", "layers_pattern", "exclude_modules", "layer_replication",
        "trainable_token_indices", "target_parameters", "alora_invocation_tokens"}) {
    if (config.has(key) && !json.at(key).empty()) {
      config.fail(key, json.at(key).dump(), "nothing; limbic reads plain LoRA");
    }
  }
  if (config.text_or("bias", "none") != "none") config.fail("bias", json.at("bias").dump(), "none");
}

}  // namespace

std::int64_t LoraConfig::rank_of(const std::string& module) const {
  const double* own = find(rank_pattern, module);
  return own == nullptr ? r : static_cast<std::int64_t>(*own);
}

double LoraConfig::scale_of(const std::string& module) const {
  const auto rank = static_cast<double>(rank_of(module));
  const double* own = find(alpha_pattern, module);
  return (own == nullptr ? alpha : *own) / (use_rslora ? std::sqrt(rank) : rank);
}

void describe(Fields& f, LoraConfig& c) {
  f.field("r", c.r, "rank of the adapters", Bounds::between(1, 4096));
  f.field("alpha", c.alpha, "the update is scaled by alpha / r", Bounds::positive());
  f.field("dropout", c.dropout, "dropout on the adapters' input", Bounds::between(0.0, 0.99));
  f.field("target_modules", c.target_modules,
          "all-linear, module names such as q_proj (every module whose name ends so), or regular "
          "expressions of whole names");
  for (const std::string& target : c.target_modules) {
    if (f.reading() && !is_expression(target)) {
      f.fail("target_modules", fmt::format("got '{}', want {}", target, kExpression));
    }
  }
  f.field("use_rslora", c.use_rslora, "scale by alpha / sqrt(r) instead");
  f.field("modules_to_save", c.modules_to_save,
          "embed_tokens and lm_head: trained as a whole and saved with the adapter");
}

bool is_target(const std::string& module, const std::string& target) {
  if (target == "all-linear" || module == target || module.ends_with("." + target)) return true;
  return !is_name(target) && matches(target, module);
}

void check_expressions(const JsonReader& config) {
  const auto check = [&](const char* key, const std::string& text) {
    if (!is_expression(text)) config.fail(key, "'" + text + "'", kExpression);
  };
  if (config.has("target_modules")) {
    const Json& targets = config.json().at("target_modules");
    for (const Json& item : targets.is_array() ? targets : Json::array({targets})) {
      if (item.is_string()) check("target_modules", item.get<std::string>());
    }
  }
  for (const char* key : {"rank_pattern", "alpha_pattern"}) {
    if (!config.has(key)) continue;
    for (const auto& [expression, value] : config.section(key).json().items()) {
      check(key, expression);
    }
  }
}

LoraConfig read_adapter_config(const std::string& path) {
  const Json json = read_json_object(path);
  const JsonReader config(json, path);
  if (!config.has("peft_type") || json.at("peft_type") != "LORA") {
    config.fail("peft_type", config.has("peft_type") ? json.at("peft_type").dump() : "nothing",
                "\"LORA\"");
  }
  refuse_others(config);
  check_expressions(config);
  LoraConfig out;
  out.r = config.size("r");
  if (out.r > kMaxRank) config.fail("r", std::to_string(out.r), "a whole number from 1 to 4096");
  out.alpha = config.positive("lora_alpha");
  out.dropout = config.number_or("lora_dropout", 0.0);
  if (out.dropout < 0.0 || out.dropout >= 1.0) {
    config.fail("lora_dropout", json.at("lora_dropout").dump(), "a number from 0 to below 1");
  }
  out.use_rslora = config.flag_or("use_rslora", false);
  out.target_modules = read_targets(config);
  out.rank_pattern = read_pattern(config, "rank_pattern", true);
  out.alpha_pattern = read_pattern(config, "alpha_pattern", false);
  if (config.has("modules_to_save")) out.modules_to_save = read_names(config, "modules_to_save");
  return out;
}

Json adapter_config_json(const LoraConfig& config, const std::vector<std::string>& targets,
                         const std::string& base_model) {
  const auto object = [](const Pattern& pattern, bool whole) {
    Json out = Json::object();
    for (const auto& [key, value] : pattern) {
      out[key] = whole ? Json(static_cast<std::int64_t>(value)) : Json(value);
    }
    return out;
  };
  return {{"peft_type", "LORA"},
          {"task_type", "CAUSAL_LM"},
          {"base_model_name_or_path", base_model},
          {"revision", nullptr},
          {"inference_mode", true},
          {"r", config.r},
          {"lora_alpha", config.alpha},
          {"lora_dropout", config.dropout},
          {"target_modules", targets},
          {"bias", "none"},
          {"fan_in_fan_out", false},
          {"use_rslora", config.use_rslora},
          {"use_dora", false},
          {"modules_to_save",
           config.modules_to_save.empty() ? Json(nullptr) : Json(config.modules_to_save)},
          {"rank_pattern", object(config.rank_pattern, true)},
          {"alpha_pattern", object(config.alpha_pattern, false)},
          {"init_lora_weights", true}};
}

}  // namespace limbic::model

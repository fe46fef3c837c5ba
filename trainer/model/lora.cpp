#include "trainer/model/lora.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <filesystem>
#include <set>

#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/base/seed.h"
#include "trainer/model/weights.h"
#include "trainer/tensor/safetensors.h"

namespace limbic::model {
namespace {

constexpr const char* kPrefix = "base_model.model.";

std::vector<Linear*> adaptable(Decoder& decoder) {
  std::vector<Linear*> out;
  for (Layer& layer : decoder.layers()) {
    for (Linear* linear : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down}) {
      out.push_back(linear);
    }
  }
  return out;
}

// PEFT's rule for lists: the module's name is the target or ends with "." + target.
bool is_target(const std::string& module, const std::vector<std::string>& targets) {
  for (const std::string& target : targets) {
    if (target == "all-linear" || module == target || module.ends_with("." + target)) return true;
  }
  return false;
}

void allocate(Linear& linear, const LoraConfig& config, at::Device device) {
  std::int64_t adapted = 0;
  std::int64_t rows = 0;
  for (const LinearPart& part : linear.parts) {
    if (!part.adapted) continue;
    ++adapted;
    rows += part.rows;
  }
  if (adapted == 0) return;
  const auto wide = at::TensorOptions().dtype(at::kFloat).device(device);
  linear.adapter.rank = config.r;
  linear.adapter.scale = config.scale();
  linear.adapter.dropout = config.dropout;
  linear.adapter.a = at::empty({adapted * config.r, linear.compute.size(1)}, wide);
  linear.adapter.b = at::zeros({rows, config.r}, wide);
}

// Calls f(module name, rows of A, rows of B) for every adapted part, in order.
template <class F>
void for_each_adapter(Decoder& decoder, const at::Tensor Adapter::*a, const at::Tensor Adapter::*b,
                      F f) {
  for (Linear* linear : adaptable(decoder)) {
    if (linear->adapter.rank == 0) continue;
    std::int64_t index = 0;
    std::int64_t row = 0;
    const std::int64_t rank = linear->adapter.rank;
    for (const LinearPart& part : linear->parts) {
      if (!part.adapted) continue;
      f(*linear, part, (linear->adapter.*a).detach().slice(0, index * rank, (index + 1) * rank),
        (linear->adapter.*b).detach().slice(0, row, row + part.rows));
      ++index;
      row += part.rows;
    }
  }
}

void set_trained(Decoder& decoder, bool trained) {
  for (Linear* linear : adaptable(decoder)) {
    if (linear->adapter.rank == 0) continue;
    linear->adapter.a.requires_grad_(trained);
    linear->adapter.b.requires_grad_(trained);
  }
}

// Throws E when a target names no module.
template <class E>
void mark_targets(Decoder& decoder, const LoraConfig& config, const std::string& where) {
  for (const std::string& target : config.target_modules) {
    bool found = false;
    for (Linear* linear : adaptable(decoder)) {
      for (LinearPart& part : linear->parts) {
        const bool match = is_target(part.name, {target});
        part.adapted = part.adapted || match;
        found = found || match;
      }
    }
    if (!found) {
      throw E(
          fmt::format("{}target_modules: got '{}', want all-linear or names among "
                      "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj",
                      where, target));
    }
  }
  for (Linear* linear : adaptable(decoder)) allocate(*linear, config, decoder.device());
}

Json read_json(const std::string& path) {
  try {
    return Json::parse(read_file(path));
  } catch (const Json::parse_error& error) {
    throw DataError(fmt::format("{}: got broken JSON ({}), want an object", path, error.what()));
  }
}

// target_modules of a PEFT file; empty when it is neither "all-linear" nor a list of names.
std::vector<std::string> names_of(const Json& targets) {
  if (targets == "all-linear") return {"all-linear"};
  std::vector<std::string> names;
  if (!targets.is_array()) return names;
  for (const Json& item : targets) {
    if (!item.is_string()) return {};
    names.push_back(item.get<std::string>());
  }
  return names;
}

LoraConfig parse_adapter_config(const std::string& path) {
  const Json json = read_json(path);
  const auto refuse = [&](const char* key, const std::string& want) {
    throw DataError(fmt::format("{}: {}: got {}, want {}", path, key,
                                json.contains(key) ? json.at(key).dump() : "nothing", want));
  };
  if (!json.contains("peft_type") || json.at("peft_type") != "LORA") {
    refuse("peft_type", "\"LORA\"");
  }
  for (const char* key : {"use_dora", "fan_in_fan_out"}) {
    if (json.contains(key) && json.at(key) == true) refuse(key, "false");
  }
  for (const char* key : {"rank_pattern", "alpha_pattern", "modules_to_save"}) {
    if (json.contains(key) && !json.at(key).is_null() && !json.at(key).empty()) {
      refuse(key, "none; limbic reads adapters of one rank and alpha without saved modules");
    }
  }
  if (json.contains("bias") && json.at("bias") != "none") refuse("bias", "\"none\"");
  LoraConfig config;
  if (!json.contains("r") || !json.at("r").is_number_unsigned() || json.at("r") == 0 ||
      json.at("r") > 4096) {
    refuse("r", "a whole number from 1 to 4096");
  }
  config.r = json.at("r").get<std::int64_t>();
  if (!json.contains("lora_alpha") || !json.at("lora_alpha").is_number() ||
      json.at("lora_alpha") <= 0) {
    refuse("lora_alpha", "a number above 0");
  }
  config.alpha = json.at("lora_alpha").get<double>();
  if (json.contains("lora_dropout")) {
    const Json& dropout = json.at("lora_dropout");
    if (!dropout.is_number() || dropout < 0 || dropout >= 1) {
      refuse("lora_dropout", "a number from 0 to below 1");
    }
    config.dropout = dropout.get<double>();
  }
  if (json.contains("use_rslora")) {
    if (!json.at("use_rslora").is_boolean()) refuse("use_rslora", "true or false");
    config.use_rslora = json.at("use_rslora").get<bool>();
  }
  config.target_modules = json.contains("target_modules") ? names_of(json.at("target_modules"))
                                                          : std::vector<std::string>{};
  if (config.target_modules.empty()) refuse("target_modules", "a list of names");
  return config;
}

// "q_proj" where every layer's q_proj has an adapter, else the full names of those that have one.
std::set<std::string> adapted_modules(Decoder& decoder) {
  const auto short_name = [](const LinearPart& part) {
    return part.name.substr(part.name.rfind('.') + 1);
  };
  std::set<std::string> partial;
  for (Linear* linear : adaptable(decoder)) {
    for (const LinearPart& part : linear->parts) {
      if (!part.adapted) partial.insert(short_name(part));
    }
  }
  std::set<std::string> names;
  for (Linear* linear : adaptable(decoder)) {
    for (const LinearPart& part : linear->parts) {
      if (!part.adapted) continue;
      names.insert(partial.contains(short_name(part)) ? part.name : short_name(part));
    }
  }
  return names;
}

}  // namespace

double LoraConfig::scale() const {
  const auto rank = static_cast<double>(r);
  return alpha / (use_rslora ? std::sqrt(rank) : rank);
}

void describe(Fields& f, LoraConfig& c) {
  f.field("r", c.r, "rank of the adapters", Bounds::between(1, 4096));
  f.field("alpha", c.alpha, "the update is scaled by alpha / r", Bounds::positive());
  f.field("dropout", c.dropout, "dropout on the adapters' input", Bounds::between(0.0, 0.99));
  f.field("target_modules", c.target_modules,
          "all-linear, or module names such as q_proj (every module whose name ends so)");
  f.field("use_rslora", c.use_rslora, "scale by alpha / sqrt(r) instead");
}

void attach_lora(Decoder& decoder, const LoraConfig& config, std::uint64_t seed, bool trained) {
  at::NoGradGuard no_grad;
  mark_targets<ConfigError>(decoder, config, "lora.");
  for_each_adapter(
      decoder, &Adapter::a, &Adapter::b,
      [&](Linear& linear, const LinearPart& part, at::Tensor a, const at::Tensor&) {
        const double bound = 1.0 / std::sqrt(static_cast<double>(linear.compute.size(1)));
        const at::Generator generator =
            at::make_generator<at::CPUGeneratorImpl>(derive_seed(seed, "lora " + part.name));
        const at::Tensor values = at::empty(a.sizes(), at::TensorOptions().dtype(at::kFloat));
        a.copy_(values.uniform_(-bound, bound, generator));
      });
  set_trained(decoder, trained);
}

LoraConfig load_adapter(Decoder& decoder, const std::string& folder, bool trained) {
  at::NoGradGuard no_grad;
  if (!std::filesystem::exists(folder + "/adapter_config.json")) {
    throw DataError(fmt::format("{}: got no adapter_config.json, want a PEFT folder", folder));
  }
  const LoraConfig config = parse_adapter_config(folder + "/adapter_config.json");
  mark_targets<DataError>(decoder, config, folder + "/adapter_config.json: ");
  const std::string path = folder + "/adapter_model.safetensors";
  const SafetensorsFile file = SafetensorsFile::open(path);
  std::set<std::string> unused;
  for (const std::string& name : file.names()) unused.insert(name);
  const auto copy = [&](const std::string& name, at::Tensor target) {
    if (unused.erase(name) == 0) {
      throw DataError(fmt::format("{}: got no tensor '{}', want one of shape {}", path, name,
                                  fmt::join(target.sizes(), " x ")));
    }
    const at::Tensor tensor = file.tensor(name);
    if (tensor.sizes() != target.sizes()) {
      throw DataError(fmt::format("{}: {}: got shape {}, want {}", path, name,
                                  fmt::join(tensor.sizes(), " x "),
                                  fmt::join(target.sizes(), " x ")));
    }
    target.copy_(tensor);
  };
  for_each_adapter(decoder, &Adapter::a, &Adapter::b,
                   [&](Linear&, const LinearPart& part, at::Tensor a, at::Tensor b) {
                     copy(kPrefix + part.name + ".lora_A.weight", std::move(a));
                     copy(kPrefix + part.name + ".lora_B.weight", std::move(b));
                   });
  if (!unused.empty()) {
    throw DataError(
        fmt::format("{}: got tensor '{}' that fits no module of the model, want names "
                    "such as {}model.layers.0.self_attn.q_proj.lora_A.weight",
                    path, *unused.begin(), kPrefix));
  }
  set_trained(decoder, trained);
  return config;
}

NamedTensors export_adapter(const Decoder& decoder) {
  NamedTensors out;
  for_each_adapter(const_cast<Decoder&>(decoder), &Adapter::a, &Adapter::b,
                   [&](Linear&, const LinearPart& part, const at::Tensor& a, const at::Tensor& b) {
                     out.push_back({kPrefix + part.name + ".lora_A.weight", a});
                     out.push_back({kPrefix + part.name + ".lora_B.weight", b});
                   });
  return out;
}

NamedTensors export_adapter_gradients(const Decoder& decoder) {
  NamedTensors out;
  for (Linear* linear : adaptable(const_cast<Decoder&>(decoder))) {
    Adapter& adapter = linear->adapter;
    if (adapter.rank == 0 || !adapter.a.grad().defined()) continue;
    std::int64_t index = 0;
    std::int64_t row = 0;
    for (const LinearPart& part : linear->parts) {
      if (!part.adapted) continue;
      out.push_back({kPrefix + part.name + ".lora_A.weight",
                     adapter.a.grad().slice(0, index * adapter.rank, (index + 1) * adapter.rank)});
      out.push_back({kPrefix + part.name + ".lora_B.weight",
                     adapter.b.grad().slice(0, row, row + part.rows)});
      ++index;
      row += part.rows;
    }
  }
  return out;
}

void save_adapter(const Decoder& decoder, const LoraConfig& config, const std::string& folder,
                  const std::string& base_model) {
  const Json json = {{"peft_type", "LORA"},
                     {"task_type", "CAUSAL_LM"},
                     {"base_model_name_or_path", base_model},
                     {"revision", nullptr},
                     {"inference_mode", true},
                     {"r", config.r},
                     {"lora_alpha", config.alpha},
                     {"lora_dropout", config.dropout},
                     {"target_modules", adapted_modules(const_cast<Decoder&>(decoder))},
                     {"bias", "none"},
                     {"fan_in_fan_out", false},
                     {"use_rslora", config.use_rslora},
                     {"use_dora", false},
                     {"modules_to_save", nullptr},
                     {"rank_pattern", Json::object()},
                     {"alpha_pattern", Json::object()},
                     {"init_lora_weights", true}};
  write_safetensors(folder + "/adapter_model.safetensors", export_adapter(decoder));
  write_file_atomically(folder + "/adapter_config.json", json.dump(2) + "\n");
}

NamedTensors merged_weights(const Decoder& decoder, MergeReport& report) {
  at::NoGradGuard no_grad;
  check(decoder.compute() == at::kFloat, "merging is done in float32");
  NamedTensors out = export_weights(decoder);
  double change = 0.0;
  double total = 0.0;
  for_each_adapter(
      const_cast<Decoder&>(decoder), &Adapter::a, &Adapter::b,
      [&](Linear& linear, const LinearPart& part, const at::Tensor& a, const at::Tensor& b) {
        const at::Tensor delta = at::mm(b, a).mul_(linear.adapter.scale);
        for (NamedTensor& named : out) {
          if (named.name != part.name + ".weight") continue;
          ++report.modules;
          report.largest_change = std::max(report.largest_change, delta.abs().max().item<double>());
          change += delta.to(at::kDouble).pow(2).sum().item<double>();
          total += named.tensor.to(at::kDouble).pow(2).sum().item<double>();
          named.tensor = named.tensor + delta;
        }
      });
  report.relative_change = total > 0.0 ? std::sqrt(change / total) : 0.0;
  return out;
}

}  // namespace limbic::model

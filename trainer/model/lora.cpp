#include "trainer/model/lora.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <array>
#include <cmath>
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

void allocate(Linear& linear, const LoraConfig& config, at::Device device) {
  std::int64_t adapted = 0;
  std::int64_t rows = 0;
  for (const LinearPart& part : linear.parts) {
    if (part.rank == 0) continue;
    ++adapted;
    rows += part.rows;
    linear.adapter.rank = std::max(linear.adapter.rank, part.rank);
  }
  if (adapted == 0) return;
  const auto wide = at::TensorOptions().dtype(at::kFloat).device(device);
  const std::int64_t rank = linear.adapter.rank;
  linear.adapter.dropout = config.dropout;
  linear.adapter.a = at::zeros({adapted * rank, linear.compute.size(1)}, wide);
  linear.adapter.b = at::zeros({rows, rank}, wide);
}

at::Tensor rows_of_a(const at::Tensor& a, std::int64_t row, const LinearPart& part) {
  return a.detach().slice(0, row, row + part.rank);
}
at::Tensor rows_of_b(const at::Tensor& b, std::int64_t row, const LinearPart& part) {
  return b.detach().slice(0, row, row + part.rows).slice(1, 0, part.rank);
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
      if (part.rank == 0) continue;
      f(*linear, part, rows_of_a(linear->adapter.*a, index * rank, part),
        rows_of_b(linear->adapter.*b, row, part));
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

// "q_proj, k_proj, ..." of a model.
std::string module_names(Decoder& decoder) {
  std::string names;
  for (Linear* linear : {&decoder.layers()[0].qkv, &decoder.layers()[0].output,
                         &decoder.layers()[0].gate_up, &decoder.layers()[0].down}) {
    for (const LinearPart& part : linear->parts) {
      names += (names.empty() ? "" : ", ") + part.name.substr(part.name.rfind('.') + 1);
    }
  }
  return names;
}

// Throws E when a target names no module.
// `each`: every target must match, else one of them: PEFT lists targets of several architectures.
template <class E>
void mark_targets(Decoder& decoder, const LoraConfig& config, const std::string& where, bool each) {
  std::vector<std::string> unmatched;
  for (const std::string& target : config.target_modules) {
    bool found = false;
    for (Linear* linear : adaptable(decoder)) {
      for (LinearPart& part : linear->parts) {
        if (!is_target(part.name, target)) continue;
        part.rank = config.rank_of(part.name);
        part.scale = config.scale_of(part.name);
        found = true;
      }
    }
    if (!found) unmatched.push_back(target);
  }
  if (!unmatched.empty() && (each || unmatched.size() == config.target_modules.size())) {
    throw E(
        fmt::format("{}target_modules: got '{}', want all-linear, names among {}, or a "
                    "regular expression that matches some",
                    where, unmatched[0], module_names(decoder)));
  }
  for (Linear* linear : adaptable(decoder)) allocate(*linear, config, decoder.device());
}

// The modules that an adapter may replace as a whole.
struct Replaceable {
  const char* name;    // in the config
  const char* tensor;  // in the model
  Linear* linear;
};
std::array<Replaceable, 2> replaceable(Decoder& decoder) {
  return {{{"embed_tokens", "model.embed_tokens.weight", &decoder.embedding},
           {"lm_head", "lm_head.weight", &decoder.head}}};
}

// Gives the modules to save matrices of their own, at first those of the base.
template <class E>
void replace_modules(Decoder& decoder, const LoraConfig& config, const std::string& where,
                     bool trained) {
  for (const std::string& name : config.modules_to_save) {
    const auto all = replaceable(decoder);
    const auto* found = std::ranges::find_if(
        all, [&](const Replaceable& item) { return name == item.name || name == item.tensor; });
    if (found == all.end() || decoder.config().tie_word_embeddings) {
      throw E(
          fmt::format("{}modules_to_save: got '{}'{}, want embed_tokens or lm_head of a model "
                      "whose embeddings are not tied",
                      where, name, found == all.end() ? "" : " of tied embeddings"));
    }
    Linear& linear = *found->linear;
    linear.base = linear.compute;
    const at::Tensor own = linear.compute.to(at::kFloat, false, true);
    if (trained) {
      linear.weight = own.requires_grad_();
      linear.compute = at::Tensor();
    } else {
      linear.compute = own.to(decoder.compute());
    }
  }
  decoder.refresh_compute();
}

// f(name in the folder, matrix) of every replaced module.
template <class F>
void for_each_replaced(Decoder& decoder, F f) {
  for (const Replaceable& item : replaceable(decoder)) {
    if (!item.linear->base.defined()) continue;
    f(std::string(kPrefix) + item.tensor,
      item.linear->weight.defined() ? item.linear->weight : item.linear->compute);
  }
}

// "q_proj" where every layer's q_proj has an adapter, else the full names of those that have one.
std::vector<std::string> adapted_modules(Decoder& decoder) {
  const auto short_name = [](const LinearPart& part) {
    return part.name.substr(part.name.rfind('.') + 1);
  };
  std::set<std::string> partial;
  for (Linear* linear : adaptable(decoder)) {
    for (const LinearPart& part : linear->parts) {
      if (part.rank == 0) partial.insert(short_name(part));
    }
  }
  std::set<std::string> names;
  for (Linear* linear : adaptable(decoder)) {
    for (const LinearPart& part : linear->parts) {
      if (part.rank == 0) continue;
      names.insert(partial.contains(short_name(part)) ? part.name : short_name(part));
    }
  }
  return {names.begin(), names.end()};
}

}  // namespace

void attach_lora(Decoder& decoder, const LoraConfig& config, std::uint64_t seed, bool trained) {
  at::NoGradGuard no_grad;
  mark_targets<ConfigError>(decoder, config, "lora.", true);
  for_each_adapter(
      decoder, &Adapter::a, &Adapter::b,
      [&](Linear& linear, const LinearPart& part, at::Tensor a, const at::Tensor&) {
        const double bound = 1.0 / std::sqrt(static_cast<double>(linear.compute.size(1)));
        const at::Generator generator =
            at::make_generator<at::CPUGeneratorImpl>(derive_seed(seed, "lora " + part.name));
        const at::Tensor values = at::empty(a.sizes(), at::TensorOptions().dtype(at::kFloat));
        a.copy_(values.uniform_(-bound, bound, generator));
      });
  replace_modules<ConfigError>(decoder, config, "lora.", trained);
  set_trained(decoder, trained);
}

LoraConfig load_adapter(Decoder& decoder, const std::string& folder, bool trained) {
  at::NoGradGuard no_grad;
  const std::string config_path = folder + "/adapter_config.json";
  if (!is_named(config_path)) {
    throw DataError(fmt::format("{}: got no adapter_config.json, want a PEFT folder", folder));
  }
  const LoraConfig config = read_adapter_config(config_path);
  mark_targets<DataError>(decoder, config, config_path + ": ", false);
  replace_modules<DataError>(decoder, config, config_path + ": ", trained);
  const std::string path = folder + "/adapter_model.safetensors";
  const SafetensorsFile file = SafetensorsFile::open(path);
  std::set<std::string> unused;
  for (const std::string& name : file.names()) unused.insert(name);
  const auto copy = [&](const std::string& name, at::Tensor target) {
    if (unused.erase(name) == 0) {
      throw DataError(fmt::format("{}: got no tensor '{}', want one of shape {}", path, name,
                                  fmt::join(target.sizes(), " x ")));
    }
    copy_tensor(std::move(target), file.tensor(name), path, name);
  };
  for_each_adapter(decoder, &Adapter::a, &Adapter::b,
                   [&](Linear&, const LinearPart& part, at::Tensor a, at::Tensor b) {
                     copy(kPrefix + part.name + ".lora_A.weight", std::move(a));
                     copy(kPrefix + part.name + ".lora_B.weight", std::move(b));
                   });
  for_each_replaced(decoder, copy);
  decoder.refresh_compute();
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
  for_each_replaced(const_cast<Decoder&>(decoder), [&](const std::string& name, at::Tensor matrix) {
    out.push_back({name, matrix.detach().to(at::kFloat)});
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
      if (part.rank == 0) continue;
      out.push_back({kPrefix + part.name + ".lora_A.weight",
                     rows_of_a(adapter.a.grad(), index * adapter.rank, part)});
      out.push_back(
          {kPrefix + part.name + ".lora_B.weight", rows_of_b(adapter.b.grad(), row, part)});
      ++index;
      row += part.rows;
    }
  }
  for_each_replaced(const_cast<Decoder&>(decoder), [&](const std::string& name, at::Tensor matrix) {
    if (matrix.grad().defined()) out.push_back({name, matrix.grad()});
  });
  return out;
}

void save_adapter(const Decoder& decoder, const LoraConfig& config, const std::string& folder,
                  const std::string& base_model) {
  const Json json =
      adapter_config_json(config, adapted_modules(const_cast<Decoder&>(decoder)), base_model);
  write_safetensors(folder + "/adapter_model.safetensors", export_adapter(decoder));
  write_file_atomically(folder + "/adapter_config.json", json.dump(2) + "\n");
}

NamedTensors merged_weights(const Decoder& decoder, MergeReport& report) {
  at::NoGradGuard no_grad;
  check(decoder.compute() == at::kFloat, "merging is done in float32");
  NamedTensors out = export_weights(decoder);
  double change = 0.0;
  double total = 0.0;
  for_each_adapter(const_cast<Decoder&>(decoder), &Adapter::a, &Adapter::b,
                   [&](Linear&, const LinearPart& part, const at::Tensor& a, const at::Tensor& b) {
                     const at::Tensor delta = at::mm(b, a).mul_(part.scale);
                     for (NamedTensor& named : out) {
                       if (named.name != part.name + ".weight") continue;
                       ++report.modules;
                       report.largest_change =
                           std::max(report.largest_change, delta.abs().max().item<double>());
                       change += delta.to(at::kDouble).pow(2).sum().item<double>();
                       total += named.tensor.to(at::kDouble).pow(2).sum().item<double>();
                       named.tensor = named.tensor + delta;
                     }
                   });
  report.relative_change = total > 0.0 ? std::sqrt(change / total) : 0.0;
  return out;
}

}  // namespace limbic::model

#include "trainer/model/weights.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>

#include "trainer/base/error.h"
#include "trainer/base/seed.h"
#include "trainer/tensor/safetensors.h"

namespace limbic::model {
namespace {

using Parts = std::vector<std::pair<std::string, std::int64_t>>;

class SlotList {
 public:
  void vector(const std::string& name, at::Tensor& tensor, std::int64_t size) {
    slots.push_back({.name = name, .vector = &tensor, .shape = {size}});
  }

  // `parts` are (module name, rows); the weights come first, then the biases.
  void linear(Linear& linear, const Parts& parts, std::int64_t in, bool bias) {
    linear.parts.resize(parts.size());
    std::int64_t row = 0;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto& [name, rows] = parts[i];
      linear.parts[i].name = name;
      linear.parts[i].row = row;
      linear.parts[i].rows = rows;
      slots.push_back(
          {.name = name + ".weight", .linear = &linear, .row = row, .shape = {rows, in}});
      if (bias) {
        slots.push_back({.name = name + ".bias",
                         .linear = &linear,
                         .is_bias = true,
                         .row = row,
                         .shape = {rows}});
      }
      row += rows;
    }
  }

  std::vector<WeightSlot> slots;
};

std::int64_t total_rows(const Linear& linear) {
  return linear.parts.back().row + linear.parts.back().rows;
}

// Allocates the owner of a slot on first use and returns the rows that the slot fills.
class Storage {
 public:
  Storage(Decoder& decoder, WeightUse use) : decoder_(decoder), use_(use) {}

  at::Tensor target(const WeightSlot& slot) {
    const auto wide = at::TensorOptions().dtype(at::kFloat).device(decoder_.device());
    if (slot.vector != nullptr) {
      *slot.vector = at::empty(slot.shape, wide);
      return *slot.vector;
    }
    Linear& linear = *slot.linear;
    if (slot.is_bias) {
      if (!linear.bias.defined()) linear.bias = at::zeros({total_rows(linear)}, wide);
      return linear.bias.slice(0, slot.row, slot.row + slot.shape[0]);
    }
    at::Tensor& matrix = use_ == WeightUse::kTrained ? linear.weight : linear.compute;
    if (!matrix.defined()) {
      const auto type = use_ == WeightUse::kTrained ? at::kFloat : decoder_.compute();
      matrix = at::empty({total_rows(linear), slot.shape[1]}, wide.dtype(type));
    }
    return matrix.slice(0, slot.row, slot.row + slot.shape[0]);
  }

  void finish(const std::vector<WeightSlot>& slots) {
    if (use_ == WeightUse::kTrained) {
      for (const WeightSlot& slot : slots) {
        if (slot.vector != nullptr) {
          slot.vector->requires_grad_();
        } else if (slot.is_bias) {
          slot.linear->bias.requires_grad_();
        } else {
          slot.linear->weight.requires_grad_();
        }
      }
    }
    decoder_.refresh_compute();
  }

 private:
  Decoder& decoder_;
  WeightUse use_;
};

std::string shape_text(at::IntArrayRef shape) { return fmt::format("{}", fmt::join(shape, " x ")); }

// Float8 is left out: it comes with scales, without which the numbers are wrong.
bool is_plain_float(at::ScalarType type) {
  return type == at::kDouble || type == at::kFloat || type == at::kHalf || type == at::kBFloat16;
}

void check_fits(const at::Tensor& tensor, at::IntArrayRef shape, const std::string& file,
                const std::string& name) {
  if (tensor.sizes() != shape) {
    throw DataError(fmt::format("{}: {}: got shape {}, want {}", file, name,
                                shape_text(tensor.sizes()), shape_text(shape)));
  }
  if (!is_plain_float(tensor.scalar_type())) {
    throw DataError(
        fmt::format("{}: {}: got {} values, want floating point of 16 bits or more; limbic reads "
                    "no quantized weights",
                    file, name, c10::toString(tensor.scalar_type())));
  }
}

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";

// The folder has both tensors, and they are not the same.
bool has_own_head(const SafetensorsFolder& folder) {
  if (!folder.contains(kEmbedding) || !folder.contains(kHead)) return false;
  const at::Tensor embedding = folder.tensor(kEmbedding), head = folder.tensor(kHead);
  return embedding.scalar_type() != head.scalar_type() || !embedding.equal(head);
}

// Where the tensor of a slot stands: a tied matrix under either name.
std::string name_in(const SafetensorsFolder& folder, const WeightSlot& slot,
                    const ModelConfig& config) {
  const bool other = config.tie_word_embeddings && slot.name == kEmbedding;
  return other && !folder.contains(kEmbedding) && folder.contains(kHead) ? kHead : slot.name;
}

bool may_be_ignored(const std::string& name, const ModelConfig& config) {
  return name.ends_with(".rotary_emb.inv_freq") || (config.tie_word_embeddings && name == kHead);
}

at::Tensor view_of(const WeightSlot& slot) {
  if (slot.vector != nullptr) return slot.vector->detach();
  const at::Tensor& owner = slot.is_bias                    ? slot.linear->bias
                            : slot.linear->weight.defined() ? slot.linear->weight
                                                            : slot.linear->compute;
  return owner.detach().slice(0, slot.row, slot.row + slot.shape[0]);
}

}  // namespace

std::vector<WeightSlot> weight_slots(Decoder& decoder) {
  const ModelConfig& c = decoder.config();
  const std::int64_t q_rows = c.num_attention_heads * c.head_dim;
  const std::int64_t kv_rows = c.num_key_value_heads * c.head_dim;
  SlotList list;
  list.linear(decoder.embedding, {{"model.embed_tokens", c.vocab_size}}, c.hidden_size, false);
  for (std::size_t i = 0; i < decoder.layers().size(); ++i) {
    Layer& layer = decoder.layers()[i];
    const std::string at = fmt::format("model.layers.{}.", i);
    list.vector(at + "input_layernorm.weight", layer.input_norm, c.hidden_size);
    const std::string attention = at + "self_attn.";
    const std::string mlp = at + "mlp.";
    list.linear(layer.qkv,
                c.fused_projections ? Parts{{attention + "qkv_proj", q_rows + 2 * kv_rows}}
                                    : Parts{{attention + "q_proj", q_rows},
                                            {attention + "k_proj", kv_rows},
                                            {attention + "v_proj", kv_rows}},
                c.hidden_size, c.qkv_bias);
    if (c.qk_norm) {
      list.vector(attention + "q_norm.weight", layer.q_norm, c.head_dim);
      list.vector(attention + "k_norm.weight", layer.k_norm, c.head_dim);
    }
    list.linear(layer.output, {{attention + "o_proj", c.hidden_size}}, q_rows, c.output_bias);
    // Where there are norms behind the blocks, the one before the MLP gives its name away.
    list.vector(at + "post_attention_layernorm.weight",
                c.post_norms ? layer.attention_out_norm : layer.attention_norm, c.hidden_size);
    if (c.post_norms) {
      list.vector(at + "pre_feedforward_layernorm.weight", layer.attention_norm, c.hidden_size);
    }
    list.linear(layer.gate_up,
                c.fused_projections ? Parts{{mlp + "gate_up_proj", 2 * c.intermediate_size}}
                                    : Parts{{mlp + "gate_proj", c.intermediate_size},
                                            {mlp + "up_proj", c.intermediate_size}},
                c.hidden_size, c.mlp_bias);
    list.linear(layer.down, {{mlp + "down_proj", c.hidden_size}}, c.intermediate_size, c.mlp_bias);
    if (c.post_norms) {
      list.vector(at + "post_feedforward_layernorm.weight", layer.mlp_out_norm, c.hidden_size);
    }
  }
  list.vector("model.norm.weight", decoder.final_norm, c.hidden_size);
  if (!c.tie_word_embeddings) {
    list.linear(decoder.head, {{"lm_head", c.vocab_size}}, c.hidden_size, false);
  }
  return std::move(list.slots);
}

void copy_tensor(at::Tensor place, const at::Tensor& tensor, const std::string& file,
                 const std::string& name) {
  check_fits(tensor, place.sizes(), file, name);
  place.copy_(tensor);
  const auto [least, most] = at::aminmax(place);  // of NaN, NaN
  if (!std::isfinite(least.item<double>()) || !std::isfinite(most.item<double>())) {
    throw DataError(
        fmt::format("{}: {}: got values that are not finite in {}, want numbers; is "
                    "the file damaged?",
                    file, name, c10::toString(place.scalar_type())));
  }
}

ModelConfig read_model_config(const std::string& folder) {
  ModelConfig config = ModelConfig::load(folder);
  if (config.tie_word_embeddings && has_own_head(SafetensorsFolder::open(folder))) {
    config.tie_word_embeddings = false;
    config.raw["tie_word_embeddings"] = false;
  }
  return config;
}

void load_weights(Decoder& decoder, const std::string& folder, WeightUse use) {
  at::NoGradGuard no_grad;
  const SafetensorsFolder file = SafetensorsFolder::open(folder);
  const std::vector<WeightSlot> slots = weight_slots(decoder);
  std::vector<std::string> known;
  for (const WeightSlot& slot : slots) known.push_back(slot.name);
  std::sort(known.begin(), known.end());
  for (const std::string& name : file.names()) {
    if (std::binary_search(known.begin(), known.end(), name)) continue;
    if (may_be_ignored(name, decoder.config())) continue;
    throw DataError(fmt::format("{}: got a foreign tensor '{}', want only tensors of {}", folder,
                                name, decoder.config().architecture));
  }
  if (decoder.config().tie_word_embeddings && has_own_head(file)) {
    throw DataError(
        fmt::format("{}: {}: got other values than {}, want the same or a config whose "
                    "embeddings are not tied",
                    folder, kHead, kEmbedding));
  }
  Storage storage(decoder, use);
  for (const WeightSlot& slot : slots) {
    const std::string name = name_in(file, slot, decoder.config());
    if (!file.contains(name)) {
      throw DataError(fmt::format("{}: got no tensor '{}', want one of shape {}", folder, slot.name,
                                  shape_text(slot.shape)));
    }
    const at::Tensor tensor = file.tensor(name);
    check_fits(tensor, slot.shape, folder, name);  // before there is memory for it
    copy_tensor(storage.target(slot), tensor, folder, name);
  }
  storage.finish(slots);
}

void initialize_weights(Decoder& decoder, std::uint64_t seed, WeightUse use) {
  at::NoGradGuard no_grad;
  const std::vector<WeightSlot> slots = weight_slots(decoder);
  Storage storage(decoder, use);
  for (const WeightSlot& slot : slots) {
    at::Tensor target = storage.target(slot);
    if (slot.vector != nullptr) {
      target.fill_(1.0 - decoder.config().norm_offset);
    } else if (slot.is_bias) {
      target.zero_();
    } else {
      const at::Generator generator =
          at::make_generator<at::CPUGeneratorImpl>(derive_seed(seed, slot.name));
      const at::Tensor values = at::empty(slot.shape, at::TensorOptions().dtype(at::kFloat));
      target.copy_(values.normal_(0.0, decoder.config().initializer_range, generator));
    }
  }
  storage.finish(slots);
}

NamedTensors export_weights(const Decoder& decoder) {
  NamedTensors out;
  for (const WeightSlot& slot : weight_slots(const_cast<Decoder&>(decoder))) {
    out.push_back({slot.name, view_of(slot)});
  }
  return out;
}

NamedTensors export_gradients(const Decoder& decoder) {
  NamedTensors out;
  for (const WeightSlot& slot : weight_slots(const_cast<Decoder&>(decoder))) {
    const at::Tensor& owner = slot.vector != nullptr ? *slot.vector
                              : slot.is_bias         ? slot.linear->bias
                                                     : slot.linear->weight;
    if (!owner.defined() || !owner.grad().defined()) continue;
    out.push_back({slot.name, slot.vector != nullptr
                                  ? owner.grad()
                                  : owner.grad().slice(0, slot.row, slot.row + slot.shape[0])});
  }
  return out;
}

}  // namespace limbic::model

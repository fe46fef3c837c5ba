#include "trainer/model/peft/adapter_check.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "trainer/base/error.h"
#include "trainer/base/json_file.h"
#include "trainer/model/config/json_reader.h"
#include "trainer/model/peft/adapter_config.h"
#include "trainer/model/weights.h"
#include "trainer/tensor/safetensors.h"

namespace limbic::model {
namespace {

using Weight = AdapterFinding::Weight;

constexpr const char* kPrefix = "base_model.model.";
// What vLLM's --max-lora-rank may be.
constexpr std::int64_t kVllmRanks[] = {1, 8, 16, 32, 64, 128, 256, 320, 512};
constexpr std::int64_t kVllmDefaultRank = 16;

struct Shape {
  std::int64_t out, in;
};

// The tensors of one module in the folder.
struct Pair {
  const at::Tensor* a = nullptr;
  const at::Tensor* b = nullptr;
};

// 0 for a tensor that does nothing, infinite or NaN for one that breaks everything.
float largest_of(const at::Tensor& tensor) {
  return tensor.to(at::kFloat).abs().max().item<float>();
}

class AdapterCheck {
 public:
  AdapterCheck(const ModelConfig& model, const std::string& folder, AdapterTarget target)
      : model_(model),
        target_(target),
        json_(read_json_object(folder + "/adapter_config.json")),
        config_(json_, folder + "/adapter_config.json"),
        file_(SafetensorsFile::open(folder + "/adapter_model.safetensors")) {
    if (config_.text_or("peft_type", "") != "LORA") {
      config_.fail("peft_type", json_.value("peft_type", Json("nothing")).dump(), "\"LORA\"");
    }
    rank_ = config_.size("r");
    check_expressions(config_);
    Decoder decoder(model_, at::kFloat, at::kCPU);
    for (const WeightSlot& slot : weight_slots(decoder)) {
      if (slot.linear == nullptr || slot.is_bias) continue;
      const std::string module = slot.name.substr(0, slot.name.rfind(".weight"));
      modules_[module] = {slot.shape[0], slot.shape[1]};
    }
  }

  AdapterReport run() {
    report_.tensors = static_cast<std::int64_t>(file_.names().size());
    sort_tensors();
    check_unmatched();
    check_pairs();
    check_targets();
    check_saved_tensors();
    check_config();
    if (target_ == AdapterTarget::kVllm) check_vllm();
    if (target_ == AdapterTarget::kLlamacpp) check_llamacpp();
    return std::move(report_);
  }

 private:
  template <class... Args>
  void find(Weight weight, fmt::format_string<Args...> text, Args&&... args) {
    report_.findings.push_back({weight, fmt::format(text, std::forward<Args>(args)...)});
  }

  bool filled(const char* key) const {
    return config_.has(key) && json_.at(key) != false && !json_.at(key).empty();
  }

  void sort_tensors() {
    for (const std::string& name : file_.names()) {
      tensors_[name] = file_.tensor(name);
      const std::string module =
          name.starts_with(kPrefix) ? name.substr(std::string(kPrefix).size()) : name;
      const auto part_of = [&](const char* ending) {
        const bool fits = name.starts_with(kPrefix) && module.ends_with(ending) &&
                          modules_.contains(module.substr(0, module.rfind(ending)));
        return fits ? module.substr(0, module.rfind(ending)) : std::string();
      };
      if (const std::string a = part_of(".lora_A.weight"); !a.empty()) {
        pairs_[a].a = &tensors_[name];
      } else if (const std::string b = part_of(".lora_B.weight"); !b.empty()) {
        pairs_[b].b = &tensors_[name];
      } else if (const std::string whole = part_of(".weight"); !whole.empty()) {
        saved_.push_back(whole);
      } else if (!part_of(".lora_magnitude_vector").empty()) {
        dora_ = true;
      } else {
        unmatched_.push_back(name);
      }
    }
    report_.matched = report_.tensors - static_cast<std::int64_t>(unmatched_.size());
  }

  // The same module under another prefix, or nothing.
  std::string own_name_of(const std::string& tensor) const {
    for (const auto& [module, shape] : modules_) {
      const std::string tail = module.starts_with("model.") ? module.substr(6) : module;
      const std::size_t at = tensor.find(tail + ".");
      if (at != std::string::npos && (at == 0 || tensor[at - 1] == '.')) return module;
    }
    return "";
  }

  void check_unmatched() {
    if (unmatched_.empty()) return;
    const std::string& first = unmatched_.front();
    const std::string own = own_name_of(first);
    const std::string hint = own.empty() ? fmt::format("want modules of {}", model_.architecture)
                                         : fmt::format("want the prefix {}{}", kPrefix, own);
    find(Weight::kSilent,
         "{} of {} tensors match no module, the first is '{}'; they are passed over; {}",
         unmatched_.size(), report_.tensors, first, hint);
  }

  std::int64_t rank_of(const std::string& module) const {
    LoraConfig config{.r = rank_};
    if (filled("rank_pattern")) {
      for (const auto& [key, value] : json_.at("rank_pattern").items()) {
        const bool is_rank = value.is_number_integer() && value > 0 && value <= 4096;
        if (is_rank) config.rank_pattern.emplace_back(key, value.get<double>());
      }
    }
    return config.rank_of(module);
  }

  void check_pairs() {
    std::vector<std::string> idle, broken;
    for (const auto& [module, pair] : pairs_) {
      if (pair.a == nullptr || pair.b == nullptr) {
        find(Weight::kSilent, "{} has no lora_{}; it stays the base's", module,
             pair.a == nullptr ? "A" : "B");
        continue;
      }
      const Shape shape = modules_.at(module);
      const std::int64_t rank = rank_of(module);
      if (pair.a->sizes() != at::IntArrayRef({rank, shape.in}) ||
          pair.b->sizes() != at::IntArrayRef({shape.out, rank})) {
        find(Weight::kRefused, "{} has A {} and B {}, want {} x {} and {} x {}", module,
             fmt::join(pair.a->sizes(), " x "), fmt::join(pair.b->sizes(), " x "), rank, shape.in,
             shape.out, rank);
        continue;
      }
      const float a = largest_of(*pair.a), b = largest_of(*pair.b);
      if (a == 0.0F || b == 0.0F) idle.push_back(module);
      if (!std::isfinite(a) || !std::isfinite(b)) broken.push_back(module);
    }
    if (!idle.empty()) {
      find(Weight::kSilent,
           "{} of {} modules have an A or B of zeros and change nothing, the first is {}",
           idle.size(), pairs_.size(), idle.front());
    }
    if (!broken.empty()) {
      find(Weight::kSilent,
           "{} of {} modules have values that are not finite, the first is {}; the model answers "
           "with NaN",
           broken.size(), pairs_.size(), broken.front());
    }
  }

  // Modules that the config names and the file leaves out.
  void check_targets() {
    std::vector<std::string> targets;
    if (filled("target_modules")) {
      const Json& value = json_.at("target_modules");
      for (const Json& item : value.is_array() ? value : Json::array({value})) {
        if (item.is_string()) targets.push_back(item.get<std::string>());
      }
    }
    if (targets.empty()) find(Weight::kRefused, "target_modules names nothing");
    const auto matches = [&](const std::string& target) {
      return std::ranges::any_of(modules_,
                                 [&](const auto& item) { return is_target(item.first, target); });
    };
    const bool some = std::ranges::any_of(targets, matches);
    for (const std::string& target : targets) {
      std::int64_t named = 0, absent = 0;
      for (const auto& [module, shape] : modules_) {
        const bool layered = module.find(".layers.") != std::string::npos;
        if (!is_target(module, target) || (target == "all-linear" && !layered)) continue;
        ++named;
        if (!pairs_.contains(module)) ++absent;
      }
      if (named == 0) {
        find(some ? Weight::kNote : Weight::kSilent, "target_modules: '{}' is no module of {}",
             target, model_.architecture);
      } else if (absent > 0) {
        find(Weight::kSilent,
             "target_modules: '{}' names {} modules, {} of them have no tensors; they stay the "
             "base's",
             target, named, absent);
      }
    }
  }

  void check_saved_tensors() {
    if (!filled("modules_to_save")) return;
    for (const Json& item : json_.at("modules_to_save")) {
      const std::string name = item.is_string() ? item.get<std::string>() : item.dump();
      const bool there = std::ranges::any_of(saved_, [&](const std::string& module) {
        return module == name || module.ends_with("." + name);
      });
      if (!there)
        find(Weight::kSilent, "modules_to_save: no tensor of {}; it stays the base's", name);
    }
  }

  void check_config() {
    if (config_.text_or("base_model_name_or_path", "").empty()) {
      find(Weight::kNote, "base_model_name_or_path is empty; loaders have to be told the base");
    }
    if (config_.number_or("lora_alpha", 8.0) == 0.0) {
      find(Weight::kSilent, "lora_alpha is 0; the adapter changes nothing");
    }
    if (config_.flag_or("fan_in_fan_out", false)) {
      find(Weight::kRefused, "fan_in_fan_out is true, want false for {}", model_.architecture);
    }
    if (target_ == AdapterTarget::kPeft) return;
    if (config_.flag_or("use_dora", false) || dora_) {
      find(Weight::kRefused, "DoRA; merge it into the base");
    }
    if (changes_base(config_)) {
      find(Weight::kSilent,
           "init_lora_weights is {}: the adapter belongs to a base that PEFT changes when it loads "
           "it; convert it by save_pretrained's path_initial_model_for_weight_conversion",
           json_.at("init_lora_weights").dump());
    }
    if (config_.text_or("bias", "none") != "none") {
      find(Weight::kSilent, "bias is {}; biases are passed over", json_.at("bias").dump());
    }
    for (const char* key : {"rank_pattern", "alpha_pattern"}) {
      if (!filled(key)) continue;
      find(
          Weight::kSilent,
          "{} has {} rules that are ignored: those modules get another scale; merge the adapter or "
          "train it with one rank and alpha",
          key, json_.at(key).size());
    }
  }

  void check_saved(const char* what) {
    if (saved_.empty() && !filled("modules_to_save")) return;
    find(Weight::kRefused, "modules_to_save{}{}: {}; merge the adapter",
         saved_.empty() ? "" : " with tensors of ", fmt::join(saved_, " and "), what);
  }

  void check_vllm() {
    check_saved("vLLM takes adapters without whole modules only");
    std::int64_t rank = rank_;
    for (const auto& [module, pair] : pairs_) {
      if (pair.a != nullptr) rank = std::max(rank, pair.a->size(0));
    }
    const auto* limit = std::ranges::lower_bound(kVllmRanks, rank);
    if (limit == std::end(kVllmRanks)) {
      find(Weight::kRefused, "rank {}, want at most {}", rank, *std::rbegin(kVllmRanks));
    } else if (rank != *limit) {
      find(Weight::kRefused,
           "rank {} is no --max-lora-rank of vLLM ({}): it loads only where that is {} or more; "
           "train it with rank {}",
           rank, fmt::join(kVllmRanks, ", "), *limit, *limit);
    } else if (rank > kVllmDefaultRank) {
      find(Weight::kNote, "rank {}: start vLLM with --max-lora-rank {}", rank, *limit);
    }
  }

  void check_llamacpp() {
    check_saved("the converter takes no whole embed_tokens or lm_head");
    if (config_.flag_or("use_rslora", false)) {
      const double alpha = config_.number_or("lora_alpha", 8.0);
      find(Weight::kSilent,
           "use_rslora is ignored: the scale would be {:.4g} in place of {:.4g}; write lora_alpha "
           "{} "
           "and use_rslora false",
           alpha / static_cast<double>(rank_), alpha / std::sqrt(static_cast<double>(rank_)),
           alpha * std::sqrt(static_cast<double>(rank_)));
    }
    if (pairs_.contains("lm_head") && model_.tie_word_embeddings) {
      find(Weight::kRefused, "an adapter of lm_head, whose matrix is that of embed_tokens");
    }
  }

  const ModelConfig& model_;
  AdapterTarget target_;
  Json json_;
  JsonReader config_;
  SafetensorsFile file_;
  std::int64_t rank_ = 0;
  std::map<std::string, Shape> modules_;
  std::map<std::string, at::Tensor> tensors_;
  std::map<std::string, Pair> pairs_;
  std::vector<std::string> saved_, unmatched_;
  bool dora_ = false;
  AdapterReport report_;
};

}  // namespace

bool AdapterReport::usable() const {
  return std::ranges::all_of(
      findings, [](const AdapterFinding& finding) { return finding.weight == Weight::kNote; });
}

AdapterReport check_adapter(const ModelConfig& model, const std::string& folder,
                            AdapterTarget target) {
  return AdapterCheck(model, folder, target).run();
}

}  // namespace limbic::model

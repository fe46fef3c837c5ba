// adapter_config.json of a PEFT LoRA folder, and the `lora` section of an experiment.
// Source: arXiv:2106.09685, rsLoRA arXiv:2312.03732; keys and matching rules as in PEFT.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "trainer/base/fields.h"
#include "trainer/model/config/json_reader.h"

namespace limbic::model {

// Rules in the order of the file: (regular expression of module names, value).
using Pattern = std::vector<std::pair<std::string, double>>;

struct LoraConfig {
  std::int64_t r = 16;
  double alpha = 32.0;
  double dropout = 0.0;
  std::vector<std::string> target_modules = {"all-linear"};
  bool use_rslora = false;
  std::vector<std::string> modules_to_save = {};  // trained or replaced as a whole
  // Modules with another rank or alpha; only read from PEFT folders and written back.
  Pattern rank_pattern = {};
  Pattern alpha_pattern = {};

  std::int64_t rank_of(const std::string& module) const;
  // What the module's update is multiplied with.
  double scale_of(const std::string& module) const;
};
void describe(Fields& f, LoraConfig& c);

// "all-linear" is every module; a name is that of a module or ends it behind a dot; anything with
// other characters than a name has is a regular expression of whole names.
bool is_target(const std::string& module, const std::string& target);

// Whether PEFT changes the base's weights when it begins such an adapter (PiSSA, OLoRA, CorDA,
// LoftQ, LoRA-GA): what is saved belongs to the changed base, which is not saved.
bool changes_base(const JsonReader& config);

// Throws DataError when target_modules, rank_pattern or alpha_pattern of an adapter_config.json
// hold something that is no regular expression, is longer than 1000 characters, or refers back.
void check_expressions(const JsonReader& config);

// Throws DataError: another kind of adapter (DoRA and the like, named), values out of bounds,
// options that limbic does not have.
LoraConfig read_adapter_config(const std::string& path);

// `targets` are the modules that have an adapter.
Json adapter_config_json(const LoraConfig& config, const std::vector<std::string>& targets,
                         const std::string& base_model);

}  // namespace limbic::model

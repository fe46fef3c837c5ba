#include "launch/config/settings.h"

#include <yaml-cpp/yaml.h>

#include <set>

#include "launch/version.h"
#include "trainer/base/file.h"

namespace limbic::launch {
namespace {

// Last key of the path, or whole sections, that may change without changing a number.
const std::set<std::string> kHarmlessKeys = {
    "save_steps", "logging_steps", "save_total_limit",      "num_completions_to_log",
    "timeout_s",  "overlap",       "generation_batch_size", "per_device_eval_batch_size"};
const std::set<std::string> kHarmlessPaths = {
    "run.output",         "run.deterministic",           "run.threads",      "rewards.workers",
    "rewards.deadline_s", "rewards.unreachable_after_s", "rewards.max_batch"};

bool is_harmless(const std::string& path) {
  if (kHarmlessPaths.count(path) > 0 || path.starts_with("serve") || path.starts_with("eval.") ||
      path.starts_with("rewards.workers.")) {
    return true;
  }
  const std::size_t dot = path.rfind('.');
  return dot != std::string::npos && kHarmlessKeys.count(path.substr(dot + 1)) > 0;
}

void flatten(const YAML::Node& node, const std::string& path, Settings& out) {
  if (node.IsMap()) {
    for (const auto& entry : node) {
      const std::string key = entry.first.Scalar();
      flatten(entry.second, path.empty() ? key : path + "." + key, out);
    }
  } else if (node.IsSequence()) {
    for (std::size_t i = 0; i < node.size(); ++i) {
      const YAML::Node name = node[i].IsMap() ? node[i]["name"] : YAML::Node();
      flatten(node[i],
              path + "." +
                  (name && name.IsScalar() && !name.Scalar().empty() ? name.Scalar()
                                                                     : std::to_string(i)),
              out);
    }
  } else if (!is_harmless(path)) {
    out[path] = node.IsNull() ? "null" : node.Scalar();
  }
}

}  // namespace

Settings numeric_settings(const RunConfig& config, int world) {
  Settings settings;
  flatten(YAML::Load(YamlWriter().write(config)), "", settings);
  settings["world"] = std::to_string(world);
  return settings;
}

std::string settings_hash(const Settings& settings) { return sha256(Json(settings).dump()); }

std::string resolved_config(const RunConfig& config, int world) {
  std::string header = "# What ran: every key with its value.\n";
  for (const auto& [name, version] : versions()) header += fmt::format("# {}: {}\n", name, version);
  header += fmt::format("# world: {} rank{}\n# settings: {}\n", world, world == 1 ? "" : "s",
                        settings_hash(numeric_settings(config, world)));
  return header + YamlWriter().write(config);
}

}  // namespace limbic::launch

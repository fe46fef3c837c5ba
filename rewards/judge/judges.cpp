#include "rewards/judge/judges.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "trainer/base/error.h"
#include "trainer/base/yaml_config.h"

namespace limbic::rewards {

void describe(Fields& f, JudgesConfig& c) {
  f.map("endpoints", c.endpoints, "OpenAI-compatible servers that judge terms ask, by name");
  f.map("rubrics", c.rubrics, "what judge terms ask, by name; also files of their own");
  if (!f.reading()) return;
  const std::vector<std::string> builtin = Rubric::builtin_names();
  for (const auto& [name, rubric] : c.rubrics) {
    if (std::find(builtin.begin(), builtin.end(), name) != builtin.end()) {
      f.fail("rubrics", fmt::format("got '{}', want another name; that rubric is built in", name));
    }
  }
}

std::shared_ptr<ChatEndpoint> Judges::endpoint(const std::string& name, const std::string& where) {
  const auto open = open_.find(name);
  if (open != open_.end()) return open->second;
  std::vector<std::string> known;
  for (const auto& [known_name, config] : config_.endpoints) {
    if (known_name == name) {
      return open_[name] = std::make_shared<ChatEndpoint>(name, config, seed_);
    }
    known.push_back(known_name);
  }
  const std::string near = nearest_name(name, known);
  throw ConfigError(
      fmt::format("{}: got '{}', want one of rewards.endpoints ({}){}", where, name,
                  known.empty() ? "there are none" : fmt::format("{}", fmt::join(known, ", ")),
                  near.empty() ? "" : "; did you mean '" + near + "'?"));
}

Rubric Judges::rubric(const std::string& name, const std::string& where) const {
  for (const auto& [known_name, config] : config_.rubrics) {
    if (known_name == name) return Rubric(config);
  }
  std::vector<std::string> known = Rubric::builtin_names();
  const bool builtin = std::find(known.begin(), known.end(), name) != known.end();
  if (builtin || std::filesystem::exists(name)) return Rubric::load(name);
  for (const auto& entry : config_.rubrics) known.push_back(entry.first);
  throw ConfigError(
      fmt::format("{}: got '{}', want a file or one of: {}", where, name, fmt::join(known, ", ")));
}

}  // namespace limbic::rewards

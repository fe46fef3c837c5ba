// Private to the YAML sources of this folder: the parsed tree and how the reader is made.
#pragma once

#include <yaml-cpp/yaml.h>

#include <memory>
#include <string>
#include <vector>

#include "trainer/base/yaml_config.h"

namespace limbic {

inline constexpr const char* kOverrideTag = "tag:limbic,override";
inline constexpr const char* kQuotedOverrideTag = "tag:limbic,override-quoted";

struct YamlDocument::Impl {
  std::string path;
  YAML::Node root;
};

bool is_override(const YAML::Node& node);
// `FILE:LINE`, or `command line` for what an override has set.
std::string place_of(const std::string& file, const YAML::Node& node);

void apply_override(YAML::Node root, const std::string& text);
void mark_override(YAML::Node value);

// Keys in `ignored` are accepted unread at the top level.
std::unique_ptr<Fields> make_yaml_reader(const YAML::Node& root, const std::string& path,
                                         const std::vector<std::string>& ignored);

}  // namespace limbic

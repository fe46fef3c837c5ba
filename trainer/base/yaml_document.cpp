// Loading: parse, refuse duplicate keys and cycles, apply overrides.
#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>

#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/base/yaml_config.h"
#include "trainer/base/yaml_tree.h"

namespace limbic {
namespace {

constexpr int kMaxDepth = 64;
constexpr std::int64_t kMaxNodes = 1'000'000;

std::string at(const std::string& path, const YAML::Node& node) {
  return fmt::format("{}:{}", path, node.Mark().line + 1);
}

class Walk {
 public:
  explicit Walk(const std::string& path) : path_(path) {}

  void visit(const YAML::Node& node, int depth) {
    if (depth > kMaxDepth || ++nodes_ > kMaxNodes) {
      throw ConfigError(
          fmt::format("{}: got nesting deeper than {} levels or more than {} values, want a plain "
                      "tree; does an anchor contain itself?",
                      at(path_, node), kMaxDepth, kMaxNodes));
    }
    if (node.IsMap()) visit_map(node, depth);
    if (node.IsSequence()) {
      for (const auto& item : node) visit(item, depth + 1);
    }
  }

 private:
  void visit_map(const YAML::Node& node, int depth) {
    std::vector<std::string> seen;
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) {
        throw ConfigError(fmt::format("{}: got a key that is no plain text, want a name",
                                      at(path_, entry.first)));
      }
      const std::string key = entry.first.Scalar();
      if (std::find(seen.begin(), seen.end(), key) != seen.end()) {
        throw ConfigError(
            fmt::format("{}: {}: got the key twice, want it once", at(path_, entry.first), key));
      }
      seen.push_back(key);
      visit(entry.second, depth + 1);
    }
  }

  const std::string& path_;
  std::int64_t nodes_ = 0;
};

YAML::Node parse_text(const std::string& text, const std::string& path) {
  try {
    YAML::Node root = YAML::Load(text);
    if (!root.IsDefined() || root.IsNull()) root = YAML::Node(YAML::NodeType::Map);
    if (!root.IsMap()) {
      throw ConfigError(
          fmt::format("{}:1: got no mapping at the top level, want `key: value` lines", path));
    }
    Walk(path).visit(root, 0);
    return root;
  } catch (const YAML::Exception& error) {
    throw ConfigError(fmt::format("{}:{}: got broken YAML ({}), want a mapping", path,
                                  error.mark.line + 1, error.msg));
  }
}

std::vector<std::string> split_path(const std::string& dotted) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  while (begin <= dotted.size()) {
    const std::size_t end = std::min(dotted.find('.', begin), dotted.size());
    parts.push_back(dotted.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// The element of a list by index or by its `name`.
std::size_t find_element(const YAML::Node& list, const std::string& part, const std::string& text) {
  if (!part.empty() && part.find_first_not_of("0123456789") == std::string::npos) {
    const std::size_t index = part.size() < 7 ? std::stoul(part) : list.size();
    if (index < list.size()) return index;
  }
  std::string names;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const YAML::Node item = list[i];
    if (!item.IsMap() || !item["name"] || !item["name"].IsScalar()) continue;
    if (item["name"].Scalar() == part) return i;
    names += (names.empty() ? "" : ", ") + item["name"].Scalar();
  }
  throw ConfigError(fmt::format("command line: {}: got '{}', want an index below {} or one of: {}",
                                text, part, list.size(), names));
}

void set_value(YAML::Node node, const std::vector<std::string>& parts, std::size_t depth,
               const YAML::Node& value, const std::string& text) {
  const std::string& part = parts[depth];
  const bool last = depth + 1 == parts.size();
  if (node.IsSequence()) {
    const std::size_t index = find_element(node, part, text);
    if (last) {
      node[index] = value;
    } else {
      set_value(node[index], parts, depth + 1, value, text);
    }
    return;
  }
  if (!node.IsMap()) {
    throw ConfigError(
        fmt::format("command line: {}: got a place inside a plain value, want a key of "
                    "a section",
                    text));
  }
  if (last) {
    node[part] = value;
    return;
  }
  if (!node[part] || node[part].IsNull()) node[part] = YAML::Node(YAML::NodeType::Map);
  set_value(node[part], parts, depth + 1, value, text);
}

}  // namespace

void apply_override(YAML::Node root, const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw ConfigError(fmt::format("command line: got '{}', want section.key=value", text));
  }
  const std::string dotted = text.substr(0, equals);
  YAML::Node value;
  try {
    value = YAML::Load(text.substr(equals + 1));
    Walk("command line").visit(value, 0);
  } catch (const YAML::Exception& error) {
    throw ConfigError(fmt::format("command line: {}: got broken YAML ({})", text, error.msg));
  }
  mark_override(value);
  set_value(root, split_path(dotted), 0, value, dotted);
}

// A tag that no file can carry by accident tells the reader where the value came from.
void mark_override(YAML::Node value) {
  if (value.Tag().empty() || value.Tag() == "?" || value.Tag() == "!") {
    value.SetTag(value.Tag() == "!" ? kQuotedOverrideTag : kOverrideTag);
  }
  if (value.IsSequence()) {
    for (auto item : value) mark_override(item);
  }
  if (value.IsMap()) {
    for (auto entry : value) mark_override(entry.second);
  }
}

YamlDocument YamlDocument::load(const std::string& path,
                                const std::vector<std::string>& overrides) {
  std::string text;
  try {
    text = read_file(path);
  } catch (const DataError&) {
    throw ConfigError(fmt::format("{}: got no readable file, want a YAML config", path));
  }
  return parse(text, path, overrides);
}

YamlDocument YamlDocument::parse(const std::string& text, const std::string& path,
                                 const std::vector<std::string>& overrides) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  impl->root = parse_text(text, path);
  for (const std::string& item : overrides) apply_override(impl->root, item);
  return YamlDocument(std::move(impl));
}

YamlDocument::YamlDocument(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
YamlDocument::~YamlDocument() = default;
YamlDocument::YamlDocument(YamlDocument&&) noexcept = default;
YamlDocument& YamlDocument::operator=(YamlDocument&&) noexcept = default;

bool YamlDocument::has(const std::string& top_level_key) const {
  return static_cast<bool>(impl_->root[top_level_key]);
}

std::unique_ptr<Fields> YamlDocument::reader(const std::vector<std::string>& ignored) const {
  return make_yaml_reader(impl_->root, impl_->path, ignored);
}

}  // namespace limbic

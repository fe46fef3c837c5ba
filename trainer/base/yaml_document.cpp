// Loading: parse, refuse duplicate keys and cycles, apply overrides.
#include <fmt/format.h>
#include <fmt/ranges.h>
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

class Walk {
 public:
  explicit Walk(const std::string& file) : file_(file) {}

  void visit(const YAML::Node& node) {
    if (std::ssize(path_) > kMaxDepth || ++nodes_ > kMaxNodes) {
      fail(node,
           fmt::format("got nesting deeper than {} levels or more than {} values, want a plain "
                       "tree; does an anchor contain itself?",
                       kMaxDepth, kMaxNodes));
    }
    if (node.IsMap()) visit_map(node);
    if (node.IsSequence()) {
      for (std::size_t i = 0; i < node.size(); ++i) visit_below(std::to_string(i), node[i]);
    }
  }

 private:
  void visit_map(const YAML::Node& node) {
    std::vector<std::string> seen;
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) {
        fail(entry.first, "got a key that is no plain text, want a name");
      }
      const std::string key = entry.first.Scalar();
      if (std::find(seen.begin(), seen.end(), key) != seen.end()) {
        path_.push_back(key);
        fail(entry.first, "got the key twice, want it once");
      }
      seen.push_back(key);
      visit_below(key, entry.second);
    }
  }

  void visit_below(const std::string& key, const YAML::Node& node) {
    path_.push_back(key);
    visit(node);
    path_.pop_back();
  }

  [[noreturn]] void fail(const YAML::Node& node, const std::string& message) const {
    constexpr std::size_t kShown = 8;  // of a path into an anchor that contains itself
    const std::vector<std::string> shown(
        path_.begin(), path_.begin() + std::min(std::ssize(path_), std::ptrdiff_t{kShown}));
    throw ConfigError(fmt::format("{}:{}: {}{}{}", file_, node.Mark().line + 1,
                                  fmt::join(shown, "."), shown.empty() ? "" : ": ", message));
  }

  const std::string& file_;
  std::vector<std::string> path_;
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
    Walk(path).visit(root);
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

std::vector<std::string> names_of(const YAML::Node& list) {
  std::vector<std::string> names(list.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    const YAML::Node item = list[i];
    if (item.IsMap() && item["name"] && item["name"].IsScalar()) names[i] = item["name"].Scalar();
  }
  return names;
}

// The element of a list by index or by its `name`; the list's size when there is none.
std::size_t find_element(const YAML::Node& list, const std::string& part) {
  if (part.empty()) return list.size();
  if (part.find_first_not_of("0123456789") == std::string::npos) {
    const std::size_t index = part.size() < 7 ? std::stoul(part) : list.size();
    if (index < list.size()) return index;
  }
  const std::vector<std::string> names = names_of(list);
  return static_cast<std::size_t>(std::find(names.begin(), names.end(), part) - names.begin());
}

std::size_t want_element(const YAML::Node& list, const std::string& part, const std::string& text) {
  const std::size_t index = find_element(list, part);
  if (index < list.size()) return index;
  std::vector<std::string> names = names_of(list);
  std::erase(names, "");
  throw ConfigError(fmt::format("command line: {}: got '{}', want an index below {} or one of: {}",
                                text, part, list.size(), fmt::join(names, ", ")));
}

// The deepest node on a path.
YAML::Node follow(const YAML::Node& node, const std::vector<std::string>& parts,
                  std::size_t depth) {
  if (depth == parts.size()) return node;
  if (node.IsSequence()) {
    const std::size_t index = find_element(node, parts[depth]);
    return index < node.size() ? follow(node[index], parts, depth + 1) : node;
  }
  if (!node.IsMap() || !node[parts[depth]]) return node;
  return follow(node[parts[depth]], parts, depth + 1);
}

// The dotted path that a message begins with, or empty.
std::string path_in_front(const std::string& message) {
  const std::size_t end = message.find_first_not_of(
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-");
  return end != std::string::npos && message.compare(end, 2, ": ") == 0 ? message.substr(0, end)
                                                                        : "";
}

void set_value(YAML::Node node, const std::vector<std::string>& parts, std::size_t depth,
               const YAML::Node& value, const std::string& text) {
  const std::string& part = parts[depth];
  const bool last = depth + 1 == parts.size();
  if (node.IsSequence()) {
    const std::size_t index = want_element(node, part, text);
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

bool is_override(const YAML::Node& node) {
  return node.Tag() == kOverrideTag || node.Tag() == kQuotedOverrideTag;
}

std::string place_of(const std::string& file, const YAML::Node& node) {
  const int line = node.Mark().line;
  return is_override(node) || line < 0 ? "command line" : fmt::format("{}:{}", file, line + 1);
}

void apply_override(YAML::Node root, const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw ConfigError(fmt::format("command line: got '{}', want section.key=value", text));
  }
  const std::string dotted = text.substr(0, equals);
  YAML::Node value;
  try {
    value = YAML::Load(text.substr(equals + 1));
    Walk("command line").visit(value);
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

void YamlDocument::in_place(const std::function<void()>& work, const std::string& section) const {
  try {
    work();
  } catch (const ConfigError& error) {
    throw ConfigError(with_place(error.what(), section));
  } catch (const DataError& error) {
    throw DataError(with_place(error.what(), ""));
  } catch (const RemoteError& error) {
    throw RemoteError(with_place(error.what(), ""));
  }
}

std::string YamlDocument::with_place(const std::string& message, const std::string& section) const {
  const std::string path = path_in_front(message);
  if (path.empty()) return message;
  const YAML::Node root = impl_->root;
  const std::vector<std::string> parts = split_path(path);
  if (root[parts[0]]) {
    return fmt::format("{}: {}", place_of(impl_->path, follow(root, parts, 0)), message);
  }
  return section.empty() ? message : with_place(section + "." + message, "");
}

bool YamlDocument::has(const std::string& top_level_key) const {
  return static_cast<bool>(impl_->root[top_level_key]);
}

std::unique_ptr<Fields> YamlDocument::reader(const std::vector<std::string>& ignored) const {
  return make_yaml_reader(impl_->root, impl_->path, ignored);
}

}  // namespace limbic

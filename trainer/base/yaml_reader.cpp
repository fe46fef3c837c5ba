// The reading visitor of Fields.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/base/yaml_tree.h"

namespace limbic {
namespace {

bool is_quoted(const YAML::Node& node) {
  return node.Tag() == "!" || node.Tag() == kQuotedOverrideTag;
}

const char* kind_of(const YAML::Node& node) {
  if (node.IsMap()) return "a section";
  if (node.IsSequence()) return "a list";
  if (node.IsNull()) return "nothing";
  return is_quoted(node) ? "a string" : "a value";
}

std::string shown(const YAML::Node& node) {
  if (node.IsScalar()) {
    return is_quoted(node) ? fmt::format("the string \"{}\"", node.Scalar())
                           : fmt::format("'{}'", node.Scalar());
  }
  return kind_of(node);
}

// Values may name an environment variable instead of standing there.
std::string resolve(const std::string& text, const std::string& where) {
  if (text.starts_with("env:")) {
    const char* value = std::getenv(text.c_str() + 4);
    if (value == nullptr) {
      throw ConfigError(
          fmt::format("{}: got '{}', want that environment variable to be set", where, text));
    }
    return value;
  }
  return text;
}

template <class T>
bool parse_number(const std::string& text, T& value) {
  const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(begin, end, value);
  return error == std::errc() && stop == end && begin != end;
}

constexpr std::size_t kTypo = 2;

// One word in front, as in names of other trainers: max_steps, lora_alpha.
bool is_prefixed(std::string_view name, std::string_view known) {
  const std::size_t bar = name.find('_');
  return bar != std::string_view::npos && name.substr(bar + 1) == known;
}

// Levenshtein distance.
std::size_t edits(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substitution = diagonal + (a[i - 1] != b[j - 1] ? 1 : 0);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitution});
    }
  }
  return row.back();
}

Json to_json(const YAML::Node& node) {
  if (node.IsNull()) return nullptr;
  if (node.IsSequence()) {
    Json list = Json::array();
    for (const auto& item : node) list.push_back(to_json(item));
    return list;
  }
  if (node.IsMap()) {
    Json object = Json::object();
    for (const auto& entry : node) object[entry.first.Scalar()] = to_json(entry.second);
    return object;
  }
  const std::string& text = node.Scalar();
  if (is_quoted(node)) return text;
  std::int64_t integer = 0;
  double real = 0;
  if (text == "true") return true;
  if (text == "false") return false;
  if (parse_number(text, integer)) return integer;
  if (parse_number(text, real) && std::isfinite(real)) return real;
  return text;
}

class YamlReader final : public Fields {
 public:
  YamlReader(const YAML::Node& root, std::string file, std::vector<std::string> ignored)
      : file_(std::move(file)) {
    frames_.push_back({root, "", {}});
    frames_.back().known = std::move(ignored);
  }

  void field(std::string_view key, bool& value, std::string_view) override {
    const YAML::Node node = take(key);
    if (!node) return;
    const std::string text = scalar(key, node, "true or false");
    if (is_quoted(node) || (text != "true" && text != "false")) {
      wrong(key, node, "true or false");
    }
    value = text == "true";
  }

  void field(std::string_view key, std::int64_t& value, std::string_view, Bounds bounds) override {
    const YAML::Node node = take(key);
    if (!node) return;
    const std::string text = scalar(key, node, "a whole number");
    if (is_quoted(node) || !parse_number(text, value)) wrong(key, node, "a whole number");
    check_bounds(key, static_cast<double>(value), bounds, text);
  }

  void field(std::string_view key, double& value, std::string_view, Bounds bounds) override {
    const YAML::Node node = take(key);
    if (!node) return;
    const std::string text = scalar(key, node, "a number");
    if (is_quoted(node) || !parse_number(text, value) || !std::isfinite(value)) {
      wrong(key, node, "a number");
    }
    check_bounds(key, value, bounds, text);
  }

  void field(std::string_view key, std::optional<double>& value, std::string_view help,
             Bounds bounds) override {
    optional_field(key, value, help, bounds);
  }
  void field(std::string_view key, std::optional<std::int64_t>& value, std::string_view help,
             Bounds bounds) override {
    optional_field(key, value, help, bounds);
  }

  void field(std::string_view key, std::string& value, std::string_view) override {
    const YAML::Node node = take(key);
    if (!node) return;
    value = scalar(key, node, "a string");
  }

  void field(std::string_view key, std::vector<std::string>& value, std::string_view) override {
    const YAML::Node node = take(key);
    if (!node) return;
    value.clear();
    if (node.IsScalar()) {
      value.push_back(scalar(key, node, "a string"));
      return;
    }
    if (!node.IsSequence()) wrong(key, node, "a list of strings");
    for (const auto& item : node) value.push_back(scalar(key, item, "a list of strings"));
  }

  void field(std::string_view key, std::vector<std::pair<std::string, std::string>>& value,
             std::string_view) override {
    const YAML::Node node = take(key);
    if (!node) return;
    if (!node.IsMap()) wrong(key, node, "a section of `name: value` lines");
    value.clear();
    for (const auto& entry : node) {
      value.emplace_back(entry.first.Scalar(), scalar(key, entry.second, "a plain value"));
    }
  }

  void field(std::string_view key, Json& value, std::string_view) override {
    const YAML::Node node = take(key);
    if (node) value = to_json(node);
  }

  void require(std::string_view key) override {
    if (!find(key)) {
      throw ConfigError(fmt::format("{}: {}: got no '{}', want it set", where(frames_.back().node),
                                    section_path(), key));
    }
  }
  bool has(std::string_view key) const override { return static_cast<bool>(find(key)); }
  bool reading() const override { return true; }

  void fail(std::string_view key, const std::string& message) const override {
    const YAML::Node node = find(key);
    throw ConfigError(
        fmt::format("{}: {}: {}", where(node ? node : frames_.back().node), path_of(key), message));
  }

  void finish() {
    check(frames_.size() == 1, "unbalanced describe()");
    refuse_unknown();
  }

 protected:
  void choose(std::string_view key, std::size_t& index, const std::vector<std::string_view>& names,
              std::string_view) override {
    const YAML::Node node = take(key);
    if (!node) return;
    const std::string text =
        scalar(key, node, "one of: " + fmt::format("{}", fmt::join(names, ", ")));
    const auto found = std::find(names.begin(), names.end(), text);
    if (found == names.end()) {
      const std::string near = nearest_name(text, {names.begin(), names.end()});
      throw ConfigError(fmt::format("{}: {}: got {}, want one of: {}{}", where(node), path_of(key),
                                    shown(node), fmt::join(names, ", "),
                                    near.empty() ? "" : "; did you mean '" + near + "'?"));
    }
    index = static_cast<std::size_t>(found - names.begin());
  }

  bool begin_section(std::string_view key, std::string_view, bool) override {
    const YAML::Node node = take(key);
    if (!node || node.IsNull()) return false;
    if (!node.IsMap()) wrong(key, node, "a section of `key: value` lines");
    frames_.push_back({node, path_of(key), {}});
    return true;
  }

  void end_section() override {
    refuse_unknown();
    frames_.pop_back();
  }

  bool begin_list(std::string_view key, std::string_view, std::size_t& count) override {
    const YAML::Node node = take(key);
    if (!node) return false;
    if (!node.IsSequence()) wrong(key, node, "a list");
    count = node.size();
    frames_.push_back({node, path_of(key), {}});
    return true;
  }

  void begin_item(std::size_t index) override {
    const Frame& list = frames_.back();
    const YAML::Node item = list.node[index];
    const std::string path = fmt::format("{}.{}", list.path, index);
    if (!item.IsMap()) {
      throw ConfigError(fmt::format("{}: {}: got {}, want a section of `key: value` lines",
                                    where(item), path, shown(item)));
    }
    frames_.push_back({item, path, {}});
  }

  bool begin_map(std::string_view key, std::string_view, std::vector<std::string>& names) override {
    const YAML::Node node = take(key);
    if (!node) return false;
    if (!node.IsMap()) wrong(key, node, "a section of named sections");
    names.clear();
    for (const auto& entry : node) names.push_back(entry.first.Scalar());
    frames_.push_back({node, path_of(key), {}});
    return true;
  }

  void begin_entry(const std::string& name) override {
    const Frame& map = frames_.back();
    const YAML::Node item = map.node[name];
    const std::string path = fmt::format("{}.{}", map.path, name);
    if (!item.IsMap()) {
      throw ConfigError(fmt::format("{}: {}: got {}, want a section of `key: value` lines",
                                    where(item), path, shown(item)));
    }
    frames_.push_back({item, path, {}});
  }

  void end_list() override { frames_.pop_back(); }

 private:
  struct Frame {
    YAML::Node node;
    std::string path;
    std::vector<std::string> known;
  };

  template <class T>
  void optional_field(std::string_view key, std::optional<T>& value, std::string_view help,
                      Bounds bounds) {
    const YAML::Node node = find(key);
    if (!node) {
      take(key);
      return;
    }
    if (node.IsNull() || (node.IsScalar() && node.Scalar() == "null" && !is_quoted(node))) {
      take(key);
      value.reset();
      return;
    }
    T plain{};
    field(key, plain, help, bounds);
    value = plain;
  }

  YAML::Node find(std::string_view key) const {
    const YAML::Node& section = frames_.back().node;
    if (!section.IsMap()) return YAML::Node(YAML::NodeType::Undefined);
    return section[std::string(key)];
  }

  YAML::Node take(std::string_view key) {
    frames_.back().known.emplace_back(key);
    return find(key);
  }

  std::string scalar(std::string_view key, const YAML::Node& node, const std::string& want) const {
    if (!node.IsScalar()) wrong(key, node, want);
    return resolve(node.Scalar(), fmt::format("{}: {}", where(node), path_of(key)));
  }

  [[noreturn]] void wrong(std::string_view key, const YAML::Node& node,
                          const std::string& want) const {
    throw ConfigError(
        fmt::format("{}: {}: got {}, want {}", where(node), path_of(key), shown(node), want));
  }

  void check_bounds(std::string_view key, double value, const Bounds& bounds,
                    const std::string& text) const {
    const bool low = bounds.open_min ? value <= bounds.min : value < bounds.min;
    if (!low && value <= bounds.max) return;
    std::string want = "a number";
    if (std::isfinite(bounds.min)) {
      want += fmt::format(" {} {}", bounds.open_min ? "above" : "of at least", bounds.min);
    }
    if (std::isfinite(bounds.max)) {
      want += fmt::format("{} at most {}", std::isfinite(bounds.min) ? " and" : " of", bounds.max);
    }
    throw ConfigError(
        fmt::format("{}: {}: got {}, want {}", where(find(key)), path_of(key), text, want));
  }

  void refuse_unknown() const {
    const Frame& frame = frames_.back();
    for (const auto& entry : frame.node) {
      const std::string key = entry.first.Scalar();
      if (std::find(frame.known.begin(), frame.known.end(), key) != frame.known.end()) continue;
      const std::string near = nearest_name(key, frame.known);
      const std::string hint = near.empty()
                                   ? fmt::format("; known keys: {}", fmt::join(frame.known, ", "))
                                   : fmt::format("; did you mean '{}'?", near);
      const std::string place = is_override(entry.second) ? "command line" : where(entry.first);
      throw ConfigError(fmt::format("{}: {}: got an unknown key '{}', want a known one{}", place,
                                    path_of(key), key, hint));
    }
  }

  std::string where(const YAML::Node& node) const { return place_of(file_, node); }

  std::string section_path() const {
    return frames_.back().path.empty() ? "top level" : frames_.back().path;
  }
  std::string path_of(std::string_view key) const {
    const std::string& path = frames_.back().path;
    return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
  }

  std::string file_;
  std::vector<Frame> frames_;
};

}  // namespace

std::unique_ptr<Fields> make_yaml_reader(const YAML::Node& root, const std::string& path,
                                         const std::vector<std::string>& ignored) {
  return std::make_unique<YamlReader>(root, path, ignored);
}

void YamlDocument::finish(Fields& fields) { static_cast<YamlReader&>(fields).finish(); }

std::string nearest_name(std::string_view name, const std::vector<std::string>& known) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, name.size() / 3) + 1;
  for (const std::string& candidate : known) {
    const std::size_t distance = is_prefixed(name, candidate) ? kTypo : edits(name, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace limbic

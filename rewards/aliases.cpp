#include "rewards/aliases.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <cctype>

#include "rewards/builtin_tables.h"
#include "trainer/base/error.h"
#include "trainer/base/file.h"

namespace limbic::rewards {
namespace {

using Names = std::vector<std::string>;

// A table file as JSON of strings: label -> word, list of words, or section of lists.
Json to_json(const YAML::Node& node, const std::string& source) {
  const auto place = [&](const YAML::Node& at) {
    return fmt::format("{}:{}", source, at.Mark().line + 1);
  };
  if (node.IsScalar()) return node.Scalar();
  if (node.IsSequence()) {
    Json list = Json::array();
    for (const auto& item : node) {
      if (!item.IsScalar()) throw ConfigError(place(item) + ": got a nested list, want a word");
      list.push_back(item.Scalar());
    }
    return list;
  }
  Json object = Json::object();
  for (const auto& entry : node) {
    const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "";
    if (key.empty()) throw ConfigError(place(entry.first) + ": got no plain name, want a label");
    if (object.contains(key)) {
      throw ConfigError(
          fmt::format("{}: {}: got the key twice, want it once", place(entry.first), key));
    }
    object[key] = to_json(entry.second, source);
  }
  return object;
}

Json parse_table(const std::string& text, const std::string& source, const std::string& where) {
  try {
    const YAML::Node root = YAML::Load(text);
    if (root.IsMap()) return to_json(root, source);
  } catch (const YAML::Exception& error) {
    throw ConfigError(fmt::format("{}: {}:{}: got broken YAML ({})", where, source,
                                  error.mark.line + 1, error.msg));
  } catch (const ConfigError& error) {
    throw ConfigError(fmt::format("{}: {}", where, error.what()));
  }
  throw ConfigError(fmt::format("{}: {}:1: got no `label: [words]` lines", where, source));
}

std::string read_table(const std::string& path, const std::string& where) {
  try {
    return read_file(path);
  } catch (const DataError&) {
    throw ConfigError(fmt::format("{}: got '{}', want a readable file", where, path));
  }
}

Names words_of(const Json& value, const std::string& where) {
  Names words;
  const Json list = value.is_array() ? value : Json::array({value});
  for (const Json& item : list) {
    if (item.is_string()) {
      words.push_back(item.get<std::string>());
    } else if (item.is_number() || item.is_boolean()) {
      words.push_back(item.dump());
    } else {
      throw ConfigError(
          fmt::format("{}: got {}, want a word or a list of words", where, shortened(item.dump())));
    }
  }
  return words;
}

std::set<int> units_of(const Json& entry, const std::string& key, const std::string& where) {
  std::set<int> units;
  if (!entry.contains(key)) return units;
  for (const std::string& word : words_of(entry[key], where)) {
    const std::optional<int> unit = action_unit(word);
    if (!unit)
      throw ConfigError(fmt::format("{}.{}: got '{}', want AU and a number", where, key, word));
    units.insert(*unit);
  }
  return units;
}

}  // namespace

Aliases Aliases::parse(const Json& option, const TextRules& rules, const std::string& where) {
  Aliases aliases;
  aliases.rules_ = rules;
  Json table = option;
  std::string place = where;
  if (option.is_string()) {
    const std::string name = option.get<std::string>();
    place += ": " + name;
    table = name == "ekman" ? parse_table(std::string(builtin_ekman()), name, where)
                            : parse_table(read_table(name, where), name, where);
  }
  if (table.is_null()) return aliases;
  if (!table.is_object()) {
    throw ConfigError(
        fmt::format("{}: got {}, want a file or `label: [words]`", where, shortened(table.dump())));
  }
  for (const auto& [label, value] : table.items()) {
    const std::string canonical = normalize(label, rules);
    Names words = words_of(value, fmt::format("{}.{}", place, label));
    words.push_back(label);
    for (const std::string& word : words) {
      const std::string key = normalize(word, rules);
      const auto [entry, added] = aliases.words_.emplace(key, canonical);
      if (!added && entry->second != canonical) {
        throw ConfigError(fmt::format("{}: got '{}' under {} and under {}, want it under one label",
                                      place, key, entry->second, canonical));
      }
    }
  }
  return aliases;
}

std::string Aliases::canonical(std::string_view text) const {
  std::string key = normalize(text, rules_);
  const auto found = words_.find(key);
  return found == words_.end() ? key : found->second;
}

std::set<std::string> Aliases::labels() const {
  std::set<std::string> labels;
  for (const auto& [word, label] : words_) labels.insert(label);
  return labels;
}

std::string Aliases::text() const {
  std::string text;
  for (const auto& [word, label] : words_) text += fmt::format("{}={}\n", word, label);
  return text;
}

std::map<std::string, ActionUnits> load_action_units(const std::string& path,
                                                     const Aliases& aliases,
                                                     const std::string& where) {
  const std::string text =
      path.empty() ? std::string(builtin_au_emotion()) : read_table(path, where);
  const std::string source = path.empty() ? "built-in table" : path;
  std::map<std::string, ActionUnits> table;
  const Json entries = parse_table(text, source, where);
  for (const auto& [emotion, entry] : entries.items()) {
    const std::string place = fmt::format("{}: {}: {}", where, source, emotion);
    if (!entry.is_object()) {
      throw ConfigError(place + ": got no section, want prototype, also and contradicts");
    }
    for (const auto& [key, value] : entry.items()) {
      if (key != "prototype" && key != "also" && key != "contradicts") {
        throw ConfigError(fmt::format(
            "{}: got an unknown key '{}', want prototype, also or contradicts", place, key));
      }
    }
    ActionUnits units;
    units.typical = units_of(entry, "prototype", place);
    units.typical.merge(units_of(entry, "also", place));
    units.contradicts = units_of(entry, "contradicts", place);
    table[aliases.canonical(emotion)] = units;
  }
  return table;
}

std::optional<int> action_unit(std::string_view text) {
  text = strip(text);
  if (text.size() < 3 || (text[0] | 0x20) != 'a' || (text[1] | 0x20) != 'u') return std::nullopt;
  text = strip(text.substr(2));
  std::size_t digits = 0;
  int number = 0;
  while (digits < text.size() && digits < 4 && text[digits] >= '0' && text[digits] <= '9') {
    number = number * 10 + (text[digits++] - '0');
  }
  const std::string_view rest = text.substr(digits);  // intensity A to E
  const bool intensity = rest.size() == 1 && std::isalpha(static_cast<unsigned char>(rest[0]));
  if (digits == 0 || !(rest.empty() || intensity)) return std::nullopt;
  return number;
}

}  // namespace limbic::rewards

// Config structs described once. A struct with defaults for every field is paired with
//
//     void describe(Fields& f, SftConfig& c) {
//       f.field("learning_rate", c.learning_rate, "peak learning rate", Bounds::positive());
//     }
//
// and that one list drives reading YAML, dumping it and the documentation of every key.
// `describe` is found by argument-dependent lookup, so it stands beside the struct.
//
// Reading is strict. Every reader error is a ConfigError `FILE:LINE: dotted.path: got X, want Y;
// hint`: unknown key (with the nearest known name), wrong type, value out of bounds, duplicate key,
// unknown choice.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "trainer/base/error.h"
#include "trainer/base/json.h"

namespace limbic {

// Inclusive bounds of a number unless `open_min` says that the minimum itself is out.
struct Bounds {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool open_min = false;

  static Bounds positive() { return {.min = 0.0, .open_min = true}; }
  static Bounds at_least(double low) { return {.min = low}; }
  static Bounds between(double low, double high) { return {.min = low, .max = high}; }
};

class Fields {
 public:
  virtual ~Fields() = default;

  virtual void field(std::string_view key, bool& value, std::string_view help) = 0;
  virtual void field(std::string_view key, std::int64_t& value, std::string_view help,
                     Bounds bounds = {}) = 0;
  virtual void field(std::string_view key, double& value, std::string_view help,
                     Bounds bounds = {}) = 0;
  virtual void field(std::string_view key, std::string& value, std::string_view help) = 0;
  // A single scalar is read as a list of one.
  virtual void field(std::string_view key, std::vector<std::string>& value,
                     std::string_view help) = 0;
  // Scalar values by key, in the order of the file.
  virtual void field(std::string_view key, std::vector<std::pair<std::string, std::string>>& value,
                     std::string_view help) = 0;
  // Any YAML, kept as JSON (null when absent). The owner checks it and uses `fail`.
  virtual void field(std::string_view key, Json& value, std::string_view help) = 0;
  // Absent keeps the default, `null` empties it.
  virtual void field(std::string_view key, std::optional<double>& value, std::string_view help,
                     Bounds bounds = {}) = 0;
  virtual void field(std::string_view key, std::optional<std::int64_t>& value,
                     std::string_view help, Bounds bounds = {}) = 0;

  // f.choice("schedule", c.schedule, {{Schedule::kCosine, "cosine"}, ...}, "help")
  template <class E>
  void choice(std::string_view key, E& value,
              std::initializer_list<std::pair<E, std::string_view>> names, std::string_view help) {
    std::vector<std::string_view> spellings;
    std::size_t index = 0;
    for (const auto& [item, name] : names) {
      if (item == value) index = spellings.size();
      spellings.push_back(name);
    }
    choose(key, index, spellings, help);
    value = (names.begin() + static_cast<std::ptrdiff_t>(index))->first;
  }

  template <class T>
  void section(std::string_view key, T& value, std::string_view help) {
    if (begin_section(key, help, true)) {
      describe(*this, value);
      end_section();
    }
  }

  // Present in the file = engaged; absent = empty.
  template <class T>
  void section(std::string_view key, std::optional<T>& value, std::string_view help) {
    if (!begin_section(key, help, value.has_value())) return;
    if (!value) value.emplace();
    describe(*this, *value);
    end_section();
  }

  template <class T>
  void list(std::string_view key, std::vector<T>& values, std::string_view help) {
    std::size_t count = values.size();
    if (!begin_list(key, help, count)) return;
    values.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      begin_item(i);
      describe(*this, values[i]);
      end_section();
    }
    end_list();
  }

  // Named sections, in the order of the file.
  template <class T>
  void map(std::string_view key, std::vector<std::pair<std::string, T>>& values,
           std::string_view help) {
    std::vector<std::string> names;
    for (const auto& entry : values) names.push_back(entry.first);
    if (!begin_map(key, help, names)) return;
    values.resize(names.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
      values[i].first = names[i];
      begin_entry(names[i]);
      describe(*this, values[i].second);
      end_section();
    }
    end_list();
  }

  // The alternative is chosen by the string under `key` ("type"); its fields stand in the same
  // section. `names` follow the order of the variant's alternatives.
  template <class... Ts>
  void variant(std::string_view key, std::variant<Ts...>& value,
               const std::vector<std::string_view>& names, std::string_view help) {
    std::size_t index = value.index();
    if (documents_all()) {
      choose(key, index, names, help);
      for (std::size_t i = 0; i < sizeof...(Ts); ++i) {
        emplace(value, i, std::index_sequence_for<Ts...>{});
        begin_alternative(key, names[i]);
        std::visit([&](auto& chosen) { describe(*this, chosen); }, value);
        end_alternative();
      }
      return;
    }
    require(key);
    choose(key, index, names, help);
    if (index != value.index()) emplace(value, index, std::index_sequence_for<Ts...>{});
    std::visit([&](auto& chosen) { describe(*this, chosen); }, value);
  }

  // The reader refuses a section without this key; other visitors do nothing.
  virtual void require(std::string_view key) = 0;
  // True when the key stands in the file (reader only; others answer true).
  virtual bool has(std::string_view key) const = 0;
  // A rule of the section is broken: the reader throws a ConfigError with file, line and path of
  // `key`.
  virtual void fail(std::string_view key, const std::string& message) const = 0;
  // True while reading (rules that span fields are checked only then).
  virtual bool reading() const = 0;
  // While reading, fails at `key` with the ConfigError that `check` throws.
  template <class Check>
  void rule(std::string_view key, Check&& check) const {
    if (!reading()) return;
    try {
      check();
    } catch (const ConfigError& error) {
      fail(key, error.what());
    }
  }

 protected:
  virtual void choose(std::string_view key, std::size_t& index,
                      const std::vector<std::string_view>& names, std::string_view help) = 0;
  virtual bool begin_section(std::string_view key, std::string_view help, bool engaged) = 0;
  virtual void end_section() = 0;
  virtual bool begin_list(std::string_view key, std::string_view help, std::size_t& count) = 0;
  virtual void begin_item(std::size_t index) = 0;
  virtual bool begin_map(std::string_view key, std::string_view help,
                         std::vector<std::string>& names) = 0;
  virtual void begin_entry(const std::string& name) = 0;
  virtual void end_list() = 0;
  virtual bool documents_all() const { return false; }
  virtual void begin_alternative(std::string_view, std::string_view) {}
  virtual void end_alternative() {}

 private:
  template <class V, std::size_t... I>
  static void emplace(V& value, std::size_t index, std::index_sequence<I...>) {
    ((index == I ? static_cast<void>(value.template emplace<I>()) : static_cast<void>(0)), ...);
  }
};

}  // namespace limbic

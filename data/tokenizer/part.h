// Strict access to a part of tokenizer.json: every complaint names the file and the place in it.
#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/base/error.h"

namespace limbic::data {

class Part {
 public:
  // Requires: `json` outlives the part.
  Part(const nlohmann::json& json, std::string where) : json_(&json), where_(std::move(where)) {}

  const nlohmann::json& json() const { return *json_; }
  const std::string& where() const { return where_; }
  bool is_null() const { return json_->is_null(); }

  // Throws DataError `WHERE: message`.
  [[noreturn]] void fail(const std::string& message) const {
    throw DataError(fmt::format("{}: {}", where_, message));
  }

  // The member under `key`; null when absent. Throws when this is not an object.
  Part operator[](const char* key) const {
    static const nlohmann::json kNull;
    if (!json_->is_object()) fail("got " + json_->dump().substr(0, 60) + ", want an object");
    const auto found = json_->find(key);
    return Part(found == json_->end() ? kNull : *found, fmt::format("{}.{}", where_, key));
  }

  // The items of a list.
  std::vector<Part> items() const {
    if (!json_->is_array()) fail("got " + json_->dump().substr(0, 60) + ", want a list");
    std::vector<Part> parts;
    for (std::size_t i = 0; i < json_->size(); ++i) {
      parts.emplace_back((*json_)[i], fmt::format("{}[{}]", where_, i));
    }
    return parts;
  }

  // Typed values; `fallback` stands for absent or null, and without one absence is an error.
  bool boolean(std::optional<bool> fallback = {}) const {
    return value<bool>(json_->is_boolean(), fallback, "true or false");
  }
  std::string text(std::optional<std::string> fallback = {}) const {
    return value<std::string>(json_->is_string(), fallback, "a string");
  }
  std::int64_t number(std::optional<std::int64_t> fallback = {}) const {
    return value<std::int64_t>(json_->is_number_integer(), fallback, "an integer");
  }

 private:
  template <class T>
  T value(bool fits, const std::optional<T>& fallback, const char* want) const {
    if (fits) return json_->get<T>();
    if (is_null() && fallback) return *fallback;
    fail(fmt::format("got {}, want {}", json_->dump().substr(0, 60), want));
  }

  const nlohmann::json* json_;
  std::string where_;
};

}  // namespace limbic::data

// Reads values of a JSON object with a message that names file, key, what stands there and what is
// wanted. A key that is null counts as absent.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "trainer/base/error.h"
#include "trainer/base/fields.h"

namespace limbic::model {

// Every reading function throws DataError for a value of another kind or out of bounds.
class JsonReader {
 public:
  JsonReader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {}

  const Json& json() const { return json_; }
  const std::string& where() const { return where_; }
  bool has(const char* key) const { return json_.contains(key) && !json_.at(key).is_null(); }
  // The key stands in the file, be it null.
  bool names(const char* key) const { return json_.contains(key); }

  // Bounded so that products of sizes fit 64 bits.
  static constexpr std::int64_t kMaxSize = std::int64_t{1} << 30;

  std::int64_t size(const char* key, std::int64_t most = kMaxSize) const {
    if (!has(key)) fail(key, "nothing", "a positive whole number");
    return whole(key, 1, most, "a positive whole number");
  }
  std::int64_t size_or(const char* key, std::int64_t other, std::int64_t most = kMaxSize) const {
    return has(key) ? size(key, most) : other;
  }
  std::int64_t count_or(const char* key, std::int64_t other) const {
    return has(key) ? whole(key, 0, kMaxSize, "a whole number of at least 0") : other;
  }
  double number_or(const char* key, double other) const {
    if (!has(key)) return other;
    if (!json_.at(key).is_number()) fail(key, json_.at(key).dump(), "a number");
    const auto value = json_.at(key).get<double>();
    if (std::abs(value) > std::numeric_limits<float>::max()) {
      fail(key, json_.at(key).dump(), "a number that float32 can hold");
    }
    return value;
  }
  double positive(const char* key) const {
    if (!has(key)) fail(key, "nothing", "a number above 0");
    return positive_or(key, 0);
  }
  double positive_or(const char* key, double other) const {
    if (!has(key)) return other;
    const double value = number_or(key, other);
    if (!(value > 0.0)) fail(key, json_.at(key).dump(), "a number above 0");
    return value;
  }
  double at_least_0_or(const char* key, double other) const {
    const double value = number_or(key, other);
    if (value < 0.0) fail(key, json_.at(key).dump(), "a number of at least 0");
    return value;
  }
  bool flag_or(const char* key, bool other) const {
    if (!has(key)) return other;
    if (!json_.at(key).is_boolean()) fail(key, json_.at(key).dump(), "true or false");
    return json_.at(key).get<bool>();
  }
  std::string text_or(const char* key, const std::string& other) const {
    if (!has(key)) return other;
    if (!json_.at(key).is_string()) fail(key, json_.at(key).dump(), "a string");
    return json_.at(key).get<std::string>();
  }
  std::vector<double> positives(const char* key, std::size_t count) const {
    const std::string want = fmt::format("a list of {} numbers above 0", count);
    if (!has(key)) fail(key, "nothing", want);
    std::vector<double> out;
    if (json_.at(key).is_array()) {
      for (const Json& item : json_.at(key)) {
        if (item.is_number() && item.get<double>() > 0.0) out.push_back(item.get<double>());
      }
    }
    if (out.size() != count || json_.at(key).size() != count) fail(key, json_.at(key).dump(), want);
    return out;
  }
  JsonReader section(const char* key) const {
    if (!json_.at(key).is_object()) fail(key, json_.at(key).dump(), "an object");
    return JsonReader(json_.at(key), where_ + ": " + key);
  }
  [[noreturn]] void fail(const char* key, const std::string& got, const std::string& want) const {
    throw DataError(fmt::format("{}: {}: got {}, want {}", where_, key, got, want));
  }

 private:
  std::int64_t whole(const char* key, std::int64_t least, std::int64_t most,
                     const char* want) const {
    const Json& value = json_.at(key);
    // Numbers of 64 bits without a sign are read as negative ones.
    if (!value.is_number_integer() || value.get<std::int64_t>() < least) {
      fail(key, value.dump(), want);
    }
    if (value.get<std::int64_t>() > most) {
      fail(key, value.dump(), fmt::format("a whole number of at most {}", most));
    }
    return value.get<std::int64_t>();
  }

  const Json& json_;
  std::string where_;
};

}  // namespace limbic::model

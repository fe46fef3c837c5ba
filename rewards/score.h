// What goes into a reward and what comes out of it: one finished completion with the columns of its
// row, and one score with its components.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "trainer/base/fields.h"

namespace limbic::rewards {

// Three outcomes that are never mixed: a number; the row has nothing to compare with, so that the
// term or the completion takes no part; the infrastructure broke, so that the number is unknown.
enum class Status { kScored, kNotApplicable, kFailed };

// One named node of the reward graph.
struct Component {
  std::string name;
  Status status = Status::kNotApplicable;
  std::optional<double> value;  // before its weight; finite; present exactly when scored
  std::string detail;           // reason or parse result, well-formed UTF-8

  bool operator==(const Component&) const = default;
};

struct Score {
  Status status = Status::kNotApplicable;
  std::optional<double> reward;  // finite; present exactly when scored
  std::vector<Component> components;

  bool operator==(const Score&) const = default;
};

struct Completion {
  std::string key;              // unique per run, step, sample and attempt
  std::string group;            // shared by the completions of one prompt
  Json prompt = Json::array();  // messages {role, content}
  std::string text;             // special tokens kept, the final stop token dropped
  std::vector<std::int32_t> ids;
  bool truncated = false;                      // ended by the length limit
  std::map<std::string, std::string> columns;  // strings as they are, everything else as JSON text
};

// "scored", "not_applicable" or "failed": the spelling of `limbic score`.
const char* status_name(Status status);

// A failed score that carries its reason as its one component.
Score failed_score(const std::string& component, const std::string& detail);

}  // namespace limbic::rewards

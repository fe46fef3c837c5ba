// What a judge is asked about one completion: axes on a scale, yes/no criteria, vetoes.
//
// A rubric is a section of the experiment file (`rewards.rubrics.NAME`), a YAML file of its own, or
// one that is built in (configs/rubrics). Every item is one question with one answer; compound
// questions are better split, as a judge that half agrees has no answer to give.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "trainer/base/fields.h"

namespace limbic::rewards {

// Keys of a judge's reply beside the items: why, before any value, and proof that it answers us.
inline constexpr const char* kReasonsKey = "reasons";
inline constexpr const char* kTicketKey = "ticket";

// A whole number of the scale; anchors say what some of them mean.
struct AxisConfig {
  std::string name;
  std::string question;
  double weight = 1.0;
  std::vector<std::pair<std::string, std::string>> anchors;
};

// Yes counts 1, no counts 0; the other way round with `good: no`.
struct CriterionConfig {
  enum class Good { kYes, kNo };
  std::string name;
  std::string question;
  double weight = 1.0;
  Good good = Good::kYes;
};

// Yes holds the share of the whole rubric down to `at_most`.
struct VetoConfig {
  std::string name;
  std::string question;
  double at_most = 0.0;
};

struct RubricConfig {
  std::string about;                         // what is judged, and by which lights
  std::string prompt;                        // Jinja source; empty = the one that is built in
  std::vector<std::int64_t> scale = {1, 5};  // lowest and highest value of an axis
  std::vector<AxisConfig> axes;
  std::vector<CriterionConfig> criteria;
  std::vector<VetoConfig> vetoes;
};
void describe(Fields& f, RubricConfig& c);

// One question, in the order of the reply: axes, criteria, vetoes.
struct RubricItem {
  enum class Kind { kAxis, kCriterion, kVeto };
  Kind kind = Kind::kAxis;
  std::string name;
  std::string question;
  double weight = 1.0;
  bool yes_is_good = true;  // criteria
  double at_most = 0.0;     // vetoes
  std::vector<std::pair<std::string, std::string>> anchors;
};

class Rubric {
 public:
  // Requires: a config that was read.
  explicit Rubric(const RubricConfig& config);
  // A file, or the name of a rubric that is built in. Throws ConfigError with file and line.
  static Rubric load(const std::string& name_or_path);
  static std::vector<std::string> builtin_names();

  const std::string& about() const { return about_; }
  const std::string& prompt() const { return prompt_; }
  std::int64_t lowest() const { return lowest_; }
  std::int64_t highest() const { return highest_; }
  const std::vector<RubricItem>& items() const { return items_; }

  // SHA-256 of all that reaches a judge or weighs its answer.
  const std::string& hash() const { return hash_; }

 private:
  std::string about_;
  std::string prompt_;
  std::int64_t lowest_;
  std::int64_t highest_;
  std::vector<RubricItem> items_;
  std::string hash_;
};

}  // namespace limbic::rewards

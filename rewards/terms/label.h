// `type: label`: does the completion give the gold label?
//
// Gold and answer are normalised and mapped through the aliases, then compared as a whole. A gold
// column that holds a list is right with any of its labels. Value: the class weight of the gold
// label when equal, else 0. No region in the completion: 0. No gold label in the row: not
// applicable.
//
// class_weights: inverse_frequency gives label c the weight (1 / n_c) / mean over k of (1 / n_k),
// so that the mean over the classes present in the counts is 1. Counts come from `label_counts`,
// else from `label_data` (a JSON-lines file with the same column), else from the training data of
// the run. A label without a weight weighs 1.
//
// distance: wheel grades wrong answers by their similarity s to the gold label on the emotion wheel
// (data/dialogue/emotion_wheel.h): the value is the largest class weight x s over the gold labels.
// An answer that is none of `emotions` has s = 0; a gold label that is none of them is failed.
#pragma once

#include "data/dialogue/emotion_wheel.h"
#include "rewards/aliases.h"
#include "rewards/terms/term.h"

namespace limbic::rewards {

// How an answer is compared with a label of the row; shared by `label` and `confidence`.
struct MatchConfig {
  std::string column;
  std::vector<std::string> region;
  Json aliases;
  std::vector<std::string> normalize = {"lower", "strip_punctuation"};
};
void describe(Fields& f, MatchConfig& c);

class LabelMatch {
 public:
  // Throws ConfigError that begins with `where`.
  LabelMatch(const MatchConfig& config, const std::string& where);

  struct Verdict {
    bool has_gold = false;
    bool right = false;
    std::string gold;                // the matched label, else the first one, canonical
    std::vector<std::string> golds;  // all of them, canonical
    std::string given;               // canonical; empty without the region
    std::string detail;              // what was read, for people
  };
  Verdict compare(const Completion& row) const;
  const std::string& column() const { return column_; }
  const Aliases& aliases() const { return aliases_; }

 private:
  std::string column_;
  Region region_;
  Aliases aliases_;
};

enum class LabelDistance { kNone, kWheel };

struct LabelConfig {
  MatchConfig match;
  Json class_weights = "none";  // none | inverse_frequency | {label: weight}
  Json label_counts;            // {label: rows}
  std::string label_data;       // file
  LabelDistance distance = LabelDistance::kNone;
  std::vector<std::string> emotions;  // of the wheel: all labels of the task
};
void describe(Fields& f, LabelConfig& c);
// Throws ConfigError when the weights need counts that nobody gives.
std::unique_ptr<Term> make_term(const LabelConfig& config, const TermSetup& setup);

}  // namespace limbic::rewards

// Figures of a classifier from pairs of right and given answers. Pure.
// Source: the definitions of scikit-learn with zero_division 0; uar (unweighted average recall) and
// war (weighted average recall, the accuracy) as in the emotion literature.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace limbic::eval {

struct Answer {
  std::string gold;
  std::string predicted;
  std::string text = {};  // what the predicted label was read from
};

struct LabelFigures {
  double precision = 0.0, recall = 0.0, f1 = 0.0;
  std::int64_t support = 0;
};

struct Classification {
  std::int64_t rows = 0;
  std::vector<std::string> labels;  // ascending: those of the data and the choices
  std::map<std::string, LabelFigures> by_label;
  std::map<std::string, std::map<std::string, std::int64_t>>
      confusion;  // gold -> predicted -> rows
  // accuracy, macro_f1, micro_f1, weighted_f1, uar, war, invalid (share outside the labels)
  std::map<std::string, double> figures;

  // Rows with this right and this given label.
  std::int64_t count(const std::string& gold, const std::string& predicted) const;
};

// An answer outside `labels` is wrong and counts for no label. macro_f1 and uar average over the
// labels that stand in the data. Requires: at least one answer, every gold answer in `labels`.
Classification classify(const std::vector<Answer>& answers, const std::vector<std::string>& labels);

}  // namespace limbic::eval

// The table of all terms: one row per term, in the same order in the variant and in the names.
#pragma once

#include <string_view>
#include <variant>
#include <vector>

#include "rewards/judge/judge_term.h"
#include "rewards/service/remote_term.h"
#include "rewards/terms/answer.h"
#include "rewards/terms/confidence.h"
#include "rewards/terms/inconsistency.h"
#include "rewards/terms/label.h"
#include "rewards/terms/length.h"
#include "rewards/terms/set.h"
#include "rewards/terms/tags.h"
#include "rewards/terms/tiou.h"
#include "rewards/terms/tree.h"

namespace limbic::rewards {

using TermOptions =
    std::variant<TagsConfig, LabelConfig, SetConfig, ChoiceConfig, NumberConfig, RegexConfig,
                 LengthConfig, OverlongConfig, RepetitionConfig, ConfidenceConfig,
                 InconsistencyConfig, TiouConfig, TreeConfig, RemoteTermConfig, JudgeConfig>;

inline const std::vector<std::string_view>& term_names() {
  static const std::vector<std::string_view> names = {
      "tags",          "label",  "set",      "choice",     "number",
      "regex",         "length", "overlong", "repetition", "confidence",
      "inconsistency", "tiou",   "tree",     "remote",     "judge"};
  return names;
}

}  // namespace limbic::rewards

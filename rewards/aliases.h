// Label tables: other words for a label, and action units per emotion.
//
// An alias file is `joy: [happy, glad]` per canonical label. The name `ekman` stands for the table
// that is built in (configs/labels/ekman.yaml); every other string is a path.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "rewards/text.h"
#include "trainer/base/fields.h"

namespace limbic::rewards {

class Aliases {
 public:
  // `option`: null (no table), a string (file or built-in) or an object label -> word(s).
  // Throws ConfigError that begins with `where`: no such file, a wrong shape, one word under two
  // labels.
  static Aliases parse(const Json& option, const TextRules& rules, const std::string& where);

  // The label that a text stands for, normalised; a text the table does not know is only
  // normalised.
  std::string canonical(std::string_view text) const;
  // Normalised words, labels themselves included -> label. Empty without a table.
  const std::map<std::string, std::string>& words() const { return words_; }
  std::set<std::string> labels() const;
  // A line per word, for Term::tables.
  std::string text() const;

 private:
  TextRules rules_;
  std::map<std::string, std::string> words_;
};

// The action units of one emotion, as numbers.
struct ActionUnits {
  std::set<int> typical;  // of the prototype or a variant
  std::set<int> contradicts;
};
// Emotion (canonical) -> action units. An empty path means the table that is built in
// (configs/labels/au_emotion.yaml). Throws ConfigError that begins with `where`.
std::map<std::string, ActionUnits> load_action_units(const std::string& path,
                                                     const Aliases& aliases,
                                                     const std::string& where);

// "AU6", "AU06", "au 6" and "AU06b" name unit 6; empty when the text names none.
std::optional<int> action_unit(std::string_view text);

}  // namespace limbic::rewards

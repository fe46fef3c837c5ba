// Options that take more than one shape. They stay JSON in the config structs, so that they are
// written back as they were read, and are turned into types by one function each, which serves the
// reader (error with file and line) and the term.
#pragma once

#include <string>
#include <vector>

#include "rewards/text.h"
#include "trainer/base/error.h"
#include "trainer/base/fields.h"

namespace limbic::rewards {

// An option's value has the wrong shape; the message is "got X, want Y".
class OptionError : public ConfigError {
 public:
  using ConfigError::ConfigError;
};

// Runs `convert` while a file is read and reports its OptionError at the key's line.
template <class Convert>
void check_option(Fields& f, std::string_view key, Convert convert) {
  if (!f.reading()) return;
  try {
    convert();
  } catch (const OptionError& error) {
    f.fail(key, error.what());
  }
}

// Refuses a required string that is empty, and more than two markers of a region.
void require_text(Fields& f, std::string_view key, const std::string& value,
                  const std::string& want);
void region_field(Fields& f, std::vector<std::string>& region);

// `[lower, strip_punctuation]`
TextRules text_rules(const std::vector<std::string>& steps);

// `[low, high]`
std::pair<double, double> bounds_of(const Json& option);

// Numbers by name; null is none.
std::vector<std::pair<std::string, double>> numbers_by_name(const Json& option);

}  // namespace limbic::rewards

// Text with columns filled in: `What is the emotion of {text}?`. `{{` and `}}` stand for braces.
// Nothing else is special: a name is whatever stands between the braces.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/row.h"

namespace limbic::data {

class TextTemplate {
 public:
  // Throws ConfigError `got ..., want ...` (no file and path): a brace without its partner, `{}`.
  explicit TextTemplate(std::string_view text);

  // Strings are filled in as they are, other values as JSON text.
  // `use` says what the text is for in messages. Throws DataError: a column is missing or null.
  std::string render(const Row& row, std::string_view use) const;

  // In the order of the text, repeats included.
  std::vector<std::string> columns() const;

 private:
  struct Part {
    std::string text;
    bool is_column = false;
  };
  std::vector<Part> parts_;
};

}  // namespace limbic::data

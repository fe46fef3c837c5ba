#include "data/text_template.h"

#include <fmt/format.h>

#include "trainer/base/error.h"

namespace limbic::data {

TextTemplate::TextTemplate(std::string_view text) {
  std::string literal;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c != '{' && c != '}') {
      literal += c;
      continue;
    }
    if (i + 1 < text.size() && text[i + 1] == c) {
      literal += c;
      ++i;
      continue;
    }
    const std::size_t end = c == '{' ? text.find_first_of("{}\n", i + 1) : text.npos;
    if (end == text.npos || text[end] != '}') {
      throw ConfigError(fmt::format(
          "got a single '{}' at byte {}, want {{column}}; write '{}{}' for the brace itself", c,
          i + 1, c, c));
    }
    if (end == i + 1) {
      throw ConfigError(fmt::format("got '{{}}' at byte {}, want a column's name inside", i + 1));
    }
    if (!literal.empty()) parts_.push_back({std::move(literal), false});
    literal.clear();
    parts_.push_back({std::string(text.substr(i + 1, end - i - 1)), true});
    i = end;
  }
  if (!literal.empty()) parts_.push_back({std::move(literal), false});
}

std::string TextTemplate::render(const Row& row, std::string_view use) const {
  std::string out;
  for (const Part& part : parts_) {
    out += part.is_column ? as_text(want_column(row, part.text, use)) : part.text;
  }
  return out;
}

std::vector<std::string> TextTemplate::columns() const {
  std::vector<std::string> names;
  for (const Part& part : parts_) {
    if (part.is_column) names.push_back(part.text);
  }
  return names;
}

}  // namespace limbic::data

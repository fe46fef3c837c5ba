// The options that the Metaspace pre-tokenizer and the Metaspace decoder share: spaces are written
// as a visible mark, and a mark may be put in front of a text.
#pragma once

#include <string>

#include "data/tokenizer/part.h"
#include "data/tokenizer/utf8.h"

namespace limbic::data {

// The text of a part that is one character.
inline std::string character_of(const Part& part) {
  std::string text = part.text();
  std::size_t end = 0;
  if (!text.empty()) next_code_point(text, end);
  if (text.empty() || end != text.size()) {
    part.fail(fmt::format("got {}, want one character", part.json().dump()));
  }
  return text;
}

struct Metaspace {
  enum class Prepend { kAlways, kFirst, kNever };  // kFirst: at the start of the input only
  std::string mark;
  Prepend prepend = Prepend::kAlways;

  static Metaspace parse(const Part& part) {
    Metaspace options{character_of(part["replacement"])};
    const Part scheme = part["prepend_scheme"];
    const std::string name = scheme.text("always");
    if (name == "first") {
      options.prepend = Prepend::kFirst;
    } else if (name == "never") {
      options.prepend = Prepend::kNever;
    } else if (name != "always") {
      scheme.fail(fmt::format("got {}, want always, first or never", name));
    }
    // Files of before 2024 say it by this key alone.
    if (!part["add_prefix_space"].boolean(true)) {
      if (name == "first") scheme.fail("got first with add_prefix_space false, want one of them");
      options.prepend = Prepend::kNever;
    }
    return options;
  }
};

}  // namespace limbic::data

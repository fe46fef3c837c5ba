// Characters that are younger than the Unicode tables of the installed libraries: PCRE2 10.42 has
// those of Unicode 14 and ICU 72 those of 15, while the `tokenizers` package cuts by Unicode 16.
// They are shown to the libraries as older characters of the same category and byte length, so that
// every place in the text stays where it is.
#pragma once

#include <string>
#include <string_view>

namespace limbic::data {

// A character of Unicode 14 with the same general category and UTF-8 length, Han if `c` is; mostly
// `c` itself.
char32_t stand_in(char32_t c);

// True when a character of the text has a stand-in other than itself. Requires: well-formed UTF-8.
bool has_newer_characters(std::string_view text);

// The text in stand-ins, byte by byte as long. Requires: well-formed UTF-8.
void write_stand_ins(std::string_view text, std::string& out);

}  // namespace limbic::data

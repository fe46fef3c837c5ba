// UTF-8 as the Unicode standard defines it (chapter 3, table 3-7): shortest form only, no
// surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace limbic::data {

// Position of the first byte that does not belong to well-formed UTF-8; npos when there is none.
std::size_t find_invalid_utf8(std::string_view text);

// The code point at `position`, which is moved behind it. Requires: well-formed text, position
// inside it and at the start of a character.
char32_t next_code_point(std::string_view text, std::size_t& position);

// Start of the character that ends just before `end`. Requires: well-formed text, 0 < end <= size.
std::size_t previous_character(std::string_view text, std::size_t end);

void append_utf8(std::string& out, char32_t code_point);

// Every ill-formed stretch becomes U+FFFD, one per maximal subpart (as Rust's `from_utf8_lossy`).
std::string repair_utf8(std::string_view bytes);

// Length of the longest prefix that does not stop inside a character that more bytes could
// complete.
std::size_t complete_utf8_prefix(std::string_view bytes);

}  // namespace limbic::data

// Properties of characters as the `tokenizers` package has them, whose parts know different
// versions of Unicode (found by asking it for every character).
#pragma once

#include <string>

namespace limbic::data {

bool is_white_space(char32_t c);

// As in UTS #18, annex C: letters, marks, decimal digits, connectors, joiners. Unicode 16.
bool is_word_character(char32_t c);

// Any number: digits, letters and signs. Unicode 17.
bool is_numeric(char32_t c);

// The symbols of ASCII, and punctuation of Unicode 8.
bool is_punctuation(char32_t c);

// Marks of Unicode 9: what StripAccents takes away.
bool is_combining_mark(char32_t c);

// The small form of a character without looking at its neighbours (a final sigma stays as it is).
// Unicode 17.
void append_lower(std::string& out, char32_t c);

}  // namespace limbic::data

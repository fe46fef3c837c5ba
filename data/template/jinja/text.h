// Python's string operations on UTF-8 text. Positions and lengths are code points.
// Requires everywhere: well-formed text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace limbic::data::jinja {

std::size_t count_code_points(std::string_view text);
// Byte positions of every character, and the size at the end.
std::vector<std::size_t> character_starts(std::string_view text);

// str.isspace of one character.
bool is_space(char32_t c);

// str.strip and its sides; without `characters` white space goes.
std::string_view strip_left(std::string_view text, const std::string* characters = nullptr);
std::string_view strip_right(std::string_view text, const std::string* characters = nullptr);
std::string_view strip(std::string_view text, const std::string* characters = nullptr);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
// First character upper-case (title-case), the others lower-case.
std::string capitalize(std::string_view text);
// Jinja's `title` filter: every word capitalised, words separated by white space and `-({[<`.
std::string title_words(std::string_view text);
// str.title: a letter behind a character that is no letter becomes upper-case.
std::string title_letters(std::string_view text);

bool all_letters(std::string_view text);
bool all_digits(std::string_view text);
bool all_letters_or_digits(std::string_view text);
bool all_spaces(std::string_view text);
// str.isupper, str.islower: at least one cased character and none of the other case.
bool is_upper(std::string_view text);
bool is_lower(std::string_view text);

// str.split(separator, limit); an empty separator pointer splits at white space.
// `limit` < 0: no limit.
std::vector<std::string> split(std::string_view text, const std::string* separator,
                               std::int64_t limit);
std::vector<std::string> split_from_right(std::string_view text, const std::string* separator,
                                          std::int64_t limit);
std::vector<std::string> split_lines(std::string_view text, bool keep_ends);

// `limit` < 0: all.
std::string replace(std::string_view text, std::string_view from, std::string_view to,
                    std::int64_t limit);

// `&<>'"` as HTML entities, as markupsafe writes them.
std::string escape_html(std::string_view text);

// repr of a str.
std::string quote(std::string_view text);

}  // namespace limbic::data::jinja

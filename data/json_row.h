// Output rows that carry the fields of their input row along untouched: other members keep their
// raw text byte for byte (9007199254740993 and 1.50 stay as they are spelled) and their order.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace limbic::data {

// A member of a JSON object: its key decoded, its value as it is spelled.
struct RawMember {
  std::string key;
  std::string_view value;  // points into the object's text
};

// Members in the order of the text; a key that stands twice is there twice.
// Requires: one valid JSON object (as JsonLines yields it).
std::vector<RawMember> raw_members(std::string_view object_text);

// The object with `fields` (key, JSON text) set: in place where the key exists (every time it
// does), otherwise appended in the order given. White space outside the braces is dropped.
// Requires: one valid JSON object; values that are valid JSON texts; no key twice in `fields`.
std::string with_fields(std::string_view object_text,
                        const std::vector<std::pair<std::string, std::string>>& fields);

}  // namespace limbic::data

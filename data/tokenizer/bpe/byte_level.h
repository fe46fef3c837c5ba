// The byte-to-character table of byte-level BPE: every byte has a printable stand-in, so that a
// vocabulary file is plain text. Source: GPT-2's vocabulary format.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace limbic::data {

// The stand-in of every byte. Bytes that print in Latin-1 stand for themselves; the others follow
// from U+0100 on.
const std::array<char32_t, 256>& byte_level_characters();

// The bytes behind a token's spelling; empty when a character is nobody's stand-in.
// Requires: well-formed UTF-8.
std::optional<std::string> byte_level_bytes(std::string_view spelling);

}  // namespace limbic::data

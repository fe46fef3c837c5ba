#include "data/tokenizer/utf8.h"

#include <cstdint>
#include <cstring>

namespace limbic::data {
namespace {

enum class Form { kWhole, kBroken, kCut };

struct Step {
  std::size_t length;  // bytes of the character, or of the maximal subpart of an ill-formed one
  Form form;
};

std::uint8_t byte_at(std::string_view text, std::size_t i) {
  return static_cast<std::uint8_t>(text[i]);
}

Step step_at(std::string_view text, std::size_t start) {
  const std::uint8_t lead = byte_at(text, start);
  if (lead < 0x80) return {1, Form::kWhole};
  if (lead < 0xC2 || lead > 0xF4) return {1, Form::kBroken};
  const std::size_t want = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  std::uint8_t low = 0x80, high = 0xBF;  // bounds of the second byte only
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  for (std::size_t i = 1; i < want; ++i) {
    if (start + i >= text.size()) return {i, Form::kCut};
    const std::uint8_t next = byte_at(text, start + i);
    if (next < low || next > high) return {i, Form::kBroken};
    low = 0x80;
    high = 0xBF;
  }
  return {want, Form::kWhole};
}

// Skips whole ASCII words of eight bytes.
std::size_t skip_ascii(std::string_view text, std::size_t i) {
  while (i + 8 <= text.size()) {
    std::uint64_t word;
    std::memcpy(&word, text.data() + i, 8);
    if (word & 0x8080808080808080ULL) break;
    i += 8;
  }
  return i;
}

}  // namespace

std::size_t find_invalid_utf8(std::string_view text) {
  std::size_t i = 0;
  while ((i = skip_ascii(text, i)) < text.size()) {
    const Step step = step_at(text, i);
    if (step.form != Form::kWhole) return i;
    i += step.length;
  }
  return std::string_view::npos;
}

char32_t next_code_point(std::string_view text, std::size_t& position) {
  const std::uint8_t lead = byte_at(text, position++);
  if (lead < 0x80) return lead;
  const int more = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
  char32_t value = lead & (0x3F >> more);
  for (int i = 0; i < more; ++i) value = (value << 6) | (byte_at(text, position++) & 0x3F);
  return value;
}

std::size_t previous_character(std::string_view text, std::size_t end) {
  --end;
  while (end > 0 && (byte_at(text, end) & 0xC0) == 0x80) --end;
  return end;
}

void append_utf8(std::string& out, char32_t c) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | ((c >> shift) & 0x3F)); };
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += {static_cast<char>(0xC0 | (c >> 6)), tail(0)};
  } else if (c < 0x10000) {
    out += {static_cast<char>(0xE0 | (c >> 12)), tail(6), tail(0)};
  } else {
    out += {static_cast<char>(0xF0 | (c >> 18)), tail(12), tail(6), tail(0)};
  }
}

std::string repair_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (std::size_t i = 0; i < bytes.size();) {
    const Step step = step_at(bytes, i);
    if (step.form == Form::kWhole) {
      out.append(bytes.substr(i, step.length));
    } else {
      out += "\xEF\xBF\xBD";
    }
    i += step.length;
  }
  return out;
}

std::size_t complete_utf8_prefix(std::string_view bytes) {
  // A character that is cut short begins at most three bytes before the end.
  for (std::size_t back = 1; back <= 3 && back <= bytes.size(); ++back) {
    const std::size_t start = bytes.size() - back;
    if ((byte_at(bytes, start) & 0xC0) == 0x80) continue;
    return step_at(bytes, start).form == Form::kCut ? start : bytes.size();
  }
  return bytes.size();
}

}  // namespace limbic::data

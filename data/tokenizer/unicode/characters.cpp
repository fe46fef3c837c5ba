#include "data/tokenizer/unicode/characters.h"

#include <unicode/uchar.h>

#include "data/tokenizer/unicode/newer_characters.h"
#include "data/tokenizer/utf8.h"

namespace limbic::data {
namespace {

constexpr char32_t kMongolianFullStop = 0x166D;  // a symbol since Unicode 12
constexpr char32_t kSandhiMark = 0x111C9;        // a mark since Unicode 11
constexpr char32_t kArdhavisarga = 0x1CF2;       // with the next one: letters since Unicode 12
constexpr char32_t kRotatedArdhavisarga = 0x1CF3;
constexpr char32_t kCapitalIWithDot = 0x130;
constexpr char32_t kDotAbove = 0x307;

UChar32 code(char32_t c) { return static_cast<UChar32>(c); }

bool is_of_version(char32_t c, int version) {
  UVersionInfo age;
  u_charAge(code(c), age);
  return age[0] != 0 && age[0] <= version;
}

// Capitals of Unicode 16 and 17: [first, last] and the way to their small forms.
struct NewerCapitals {
  char32_t first;
  char32_t last;
  std::int32_t to_lower;
  bool every_second;
};
constexpr NewerCapitals kNewerCapitals[] = {
    {0x1C89, 0x1C89, 1, false},      {0xA7CB, 0xA7CB, 0x264 - 0xA7CB, false},
    {0xA7CC, 0xA7CE, 1, true},       {0xA7D2, 0xA7D4, 1, true},
    {0xA7DA, 0xA7DA, 1, false},      {0xA7DC, 0xA7DC, 0x19B - 0xA7DC, false},
    {0x10D50, 0x10D65, 0x20, false}, {0x16EA0, 0x16EB8, 27, false}};

}  // namespace

bool is_white_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
  return u_hasBinaryProperty(code(c), UCHAR_WHITE_SPACE);
}

bool is_word_character(char32_t c) {
  if (c < 0x80) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  }
  const UChar32 old = code(stand_in(c));
  return (U_GET_GC_MASK(old) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0 ||
         u_hasBinaryProperty(old, UCHAR_ALPHABETIC) || u_hasBinaryProperty(old, UCHAR_JOIN_CONTROL);
}

bool is_numeric(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  if ((c >= 0x11DE0 && c <= 0x11DE9) || (c >= 0x16FF4 && c <= 0x16FF6)) return true;  // Unicode 17
  return (U_GET_GC_MASK(code(stand_in(c))) & U_GC_N_MASK) != 0;
}

bool is_punctuation(char32_t c) {
  if (c < 0x80) return (c > ' ' && c < 0x7F && !is_word_character(c)) || c == '_';
  if (c == kMongolianFullStop || c == kSandhiMark) return true;
  return (U_GET_GC_MASK(code(c)) & U_GC_P_MASK) != 0 && is_of_version(c, 8);
}

bool is_combining_mark(char32_t c) {
  if (c < 0x300) return false;
  if (c == kArdhavisarga || c == kRotatedArdhavisarga) return true;
  return (U_GET_GC_MASK(code(c)) & U_GC_M_MASK) != 0 && is_of_version(c, 9) && c != kSandhiMark;
}

void append_lower(std::string& out, char32_t c) {
  if (c == kCapitalIWithDot) {
    append_utf8(out, U'i');
    append_utf8(out, kDotAbove);
    return;
  }
  for (const NewerCapitals& range : kNewerCapitals) {
    if (c < range.first || c > range.last) continue;
    if (range.every_second && (c - range.first) % 2 != 0) continue;
    append_utf8(out, static_cast<char32_t>(static_cast<std::int32_t>(c) + range.to_lower));
    return;
  }
  append_utf8(out, static_cast<char32_t>(u_tolower(code(c))));
}

}  // namespace limbic::data

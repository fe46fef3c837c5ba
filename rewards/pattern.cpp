#define PCRE2_CODE_UNIT_WIDTH 8
#include "rewards/pattern.h"

#include <fmt/format.h>
#include <pcre2.h>

#include <new>

#include "trainer/base/error.h"

namespace limbic::rewards {
namespace {

constexpr unsigned kMatchLimit = 1'000'000;
constexpr unsigned kHeapLimitKib = 64 * 1024;

std::string message_of(int code) {
  PCRE2_UCHAR buffer[256] = {};
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

Pattern::Pattern(std::string_view pattern, const std::string& where, Letters letters)
    : code_(nullptr, [](pcre2_real_code_8* code) { pcre2_code_free(code); }),
      limits_(pcre2_match_context_create(nullptr),
              [](pcre2_real_match_context_8* context) { pcre2_match_context_free(context); }) {
  if (!limits_) throw std::bad_alloc();
  pcre2_set_match_limit(limits_.get(), kMatchLimit);
  pcre2_set_heap_limit(limits_.get(), kHeapLimitKib);
  unsigned options = PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C;
  if (letters == Letters::kAnyCase) options |= PCRE2_CASELESS;
  int error = 0;
  PCRE2_SIZE offset = 0;
  code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options,
                            &error, &offset, nullptr));
  if (!code_) {
    throw ConfigError(fmt::format("{}: got '{}' ({} at byte {}), want a regular expression", where,
                                  pattern, message_of(error), offset));
  }
}

bool Pattern::match(std::string_view text, std::size_t from, unsigned options, Match& out) const {
  const std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)> matched(
      pcre2_match_data_create_from_pattern(code_.get(), nullptr),
      [](pcre2_match_data* d) { pcre2_match_data_free(d); });
  if (!matched) throw std::bad_alloc();
  const int found = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                                from, options, matched.get(), limits_.get());
  if (found == PCRE2_ERROR_NOMATCH) return false;
  if (found < 0) {
    throw DataError(fmt::format("a pattern gave up on a text of {} bytes ({})", text.size(),
                                message_of(found)));
  }
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(matched.get());
  out.begin = range[0];
  out.end = range[1];
  const bool group = found > 1 && range[2] != PCRE2_UNSET;
  out.text = group ? text.substr(range[2], range[3] - range[2])
                   : text.substr(range[0], range[1] - range[0]);
  return true;
}

std::vector<Pattern::Match> Pattern::find_all(std::string_view text) const {
  std::vector<Match> matches;
  std::size_t from = 0;
  Match match_here;
  while (from <= text.size() && match(text, from, 0, match_here)) {
    from = match_here.end > match_here.begin ? match_here.end : match_here.end + 1;
    if (match_here.end > match_here.begin) matches.push_back(match_here);
    // Never start inside a character.
    while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80) ++from;
  }
  return matches;
}

bool Pattern::search(std::string_view text) const {
  Match ignored;
  return match(text, 0, 0, ignored);
}

bool Pattern::full(std::string_view text) const {
  Match ignored;
  return match(text, 0, PCRE2_ANCHORED | PCRE2_ENDANCHORED, ignored);
}

std::string quoted_pattern(std::string_view text) {
  std::string quoted;
  for (const char c : text) {
    if (std::string_view("\\^$.[]|()?*+{}-#&~ /").find(c) != std::string_view::npos) quoted += '\\';
    quoted += c;
  }
  return quoted;
}

}  // namespace limbic::rewards

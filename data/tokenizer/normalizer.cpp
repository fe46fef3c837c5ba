#include "data/tokenizer/normalizer.h"

#include <unicode/bytestream.h>
#include <unicode/edits.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>

#include "data/tokenizer/utf8.h"

namespace limbic::data {
namespace {

icu::StringPiece piece_of(std::string_view text) {
  return {text.data(), static_cast<std::int32_t>(text.size())};
}

void require_success(UErrorCode code) {
  check(U_SUCCESS(code), std::string("Unicode library: ") + u_errorName(code));
}

const icu::Normalizer2& unicode_form(const char* form, bool compose) {
  UErrorCode code = U_ZERO_ERROR;
  const icu::Normalizer2* found = icu::Normalizer2::getInstance(
      nullptr, form, compose ? UNORM2_COMPOSE : UNORM2_DECOMPOSE, code);
  require_success(code);
  return *found;
}

void to_unicode_form(const icu::Normalizer2& form, const AlignedText& in, bool tracked,
                     TextBuffer& out) {
  UErrorCode code = U_ZERO_ERROR;
  icu::StringByteSink<std::string> sink(&out.text);
  icu::Edits edits;
  form.normalizeUTF8(0, piece_of(in.text), sink, tracked ? &edits : nullptr, code);
  require_success(code);
  if (!tracked) return;
  icu::Edits::Iterator edit = edits.getFineIterator();
  while (edit.next(code)) {
    const auto from = static_cast<std::size_t>(edit.sourceIndex());
    const auto old_length = static_cast<std::size_t>(edit.oldLength());
    const auto new_length = static_cast<std::size_t>(edit.newLength());
    for (std::size_t i = 0; i < new_length; ++i) {
      out.origin.push_back(edit.hasChange() ? in.origin_of(from, from + old_length)
                                            : in.origin_of(from + i));
    }
  }
}

// One character at a time, without looking at its neighbours (a final sigma stays as it is).
void to_lower(const AlignedText& in, bool tracked, TextBuffer& out) {
  for (std::size_t i = 0; i < in.text.size();) {
    const std::size_t start = i;
    const char32_t c = next_code_point(in.text, i);
    std::string lower;
    append_utf8(lower,
                c == 0x130 ? U'i' : static_cast<char32_t>(u_tolower(static_cast<UChar32>(c))));
    if (c == 0x130) append_utf8(lower, 0x307);
    out.append(lower, in.origin_of(start, i), tracked);
  }
}

bool is_white_space(char32_t c) {
  return u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_WHITE_SPACE);
}

void strip(const AlignedText& in, bool left, bool right, bool tracked, TextBuffer& out) {
  std::size_t begin = 0, end = in.text.size();
  while (left && begin < end) {
    std::size_t next = begin;
    if (!is_white_space(next_code_point(in.text, next))) break;
    begin = next;
  }
  while (right && end > begin) {
    const std::size_t start = previous_character(in.text, end);
    std::size_t read = start;
    if (!is_white_space(next_code_point(in.text, read))) break;
    end = start;
  }
  out.append(in, begin, end, tracked);
}

Regex pattern_of(const Part& part) {
  const Part pattern = part["pattern"];
  if (!pattern["Regex"].is_null()) return Regex(pattern["Regex"].text(), pattern.where());
  const std::string text = pattern["String"].text();
  if (text.empty()) pattern.fail("got an empty string, want a text to look for");
  return Regex::literal(text, pattern.where());
}

}  // namespace

Normalizer Normalizer::parse(const Part& part) {
  Normalizer normalizer;
  if (!part.is_null()) normalizer.add(part);
  return normalizer;
}

void Normalizer::add(const Part& part) {
  const std::string type = part["type"].text();
  if (type == "Sequence") {
    for (const Part& item : part["normalizers"].items()) add(item);
  } else if (type == "NFC" || type == "NFD") {
    steps_.push_back(Unicode{"nfc", type == "NFC"});
  } else if (type == "NFKC" || type == "NFKD") {
    steps_.push_back(Unicode{"nfkc", type == "NFKC"});
  } else if (type == "Replace") {
    steps_.push_back(Replace{pattern_of(part), part["content"].text()});
  } else if (type == "Prepend") {
    steps_.push_back(Prepend{part["prepend"].text()});
  } else if (type == "Lowercase") {
    steps_.push_back(Lowercase{});
  } else if (type == "Strip") {
    steps_.push_back(Strip{part["strip_left"].boolean(), part["strip_right"].boolean()});
  } else {
    part.fail(
        fmt::format("got type {}, want NFC, NFD, NFKC, NFKD, Replace, Prepend, Lowercase, "
                    "Strip or Sequence",
                    type));
  }
}

bool Normalizer::unchanged(const Step& step, std::string_view text) {
  const Unicode* unicode = std::get_if<Unicode>(&step);
  if (!unicode) return text.empty();
  UErrorCode code = U_ZERO_ERROR;
  const bool normal =
      unicode_form(unicode->form, unicode->compose).isNormalizedUTF8(piece_of(text), code);
  require_success(code);
  return normal;
}

void Normalizer::run(const Step& step, const AlignedText& in, bool tracked, TextBuffer& out,
                     RegexWorkspace& workspace) {
  if (const auto* unicode = std::get_if<Unicode>(&step)) {
    to_unicode_form(unicode_form(unicode->form, unicode->compose), in, tracked, out);
  } else if (const auto* replace = std::get_if<Replace>(&step)) {
    std::size_t done = 0;
    RegexMatches matches(replace->pattern, in.text, workspace);
    while (matches.next()) {
      out.append(in, done, matches.begin(), tracked);
      const ByteRange from = matches.begin() < matches.end()
                                 ? in.origin_of(matches.begin(), matches.end())
                                 : ByteRange{};
      out.append(replace->content, from, tracked);
      done = matches.end();
    }
    out.append(in, done, in.text.size(), tracked);
  } else if (const auto* prepend = std::get_if<Prepend>(&step)) {
    const std::uint32_t start = in.origin_of(0).begin;
    out.append(prepend->text, {start, start}, tracked);
    out.append(in, 0, in.text.size(), tracked);
  } else if (std::holds_alternative<Lowercase>(step)) {
    to_lower(in, tracked, out);
  } else {
    const auto& sides = std::get<Strip>(step);
    strip(in, sides.left, sides.right, tracked, out);
  }
}

AlignedText Normalizer::apply(const AlignedText& text, bool tracked, TextBuffer (&buffers)[2],
                              RegexWorkspace& workspace) const {
  AlignedText current = text;
  int target = 0;
  for (const Step& step : steps_) {
    if (unchanged(step, current.text)) continue;
    TextBuffer& out = buffers[target];
    out.clear();
    run(step, current, tracked, out, workspace);
    current = out.view(tracked);
    target = 1 - target;
  }
  return current;
}

}  // namespace limbic::data

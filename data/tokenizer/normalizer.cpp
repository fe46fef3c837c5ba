#include "data/tokenizer/normalizer.h"

#include <map>

#include "data/tokenizer/unicode/characters.h"
#include "data/tokenizer/utf8.h"

namespace limbic::data {
namespace {

void to_lower(const AlignedText& in, bool tracked, TextBuffer& out) {
  std::string lower;
  for (std::size_t i = 0; i < in.text.size();) {
    const std::size_t start = i;
    lower.clear();
    append_lower(lower, next_code_point(in.text, i));
    out.append(lower, in.origin_of(start, i), tracked);
  }
}

void drop_marks(const AlignedText& in, bool tracked, TextBuffer& out) {
  for (std::size_t i = 0; i < in.text.size();) {
    const std::size_t start = i;
    if (!is_combining_mark(next_code_point(in.text, i))) out.append(in, start, i, tracked);
  }
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
  static const std::map<std::string, UnicodeForm::Name> kForms = {
      {"NFC", UnicodeForm::Name::kNfc},
      {"NFD", UnicodeForm::Name::kNfd},
      {"NFKC", UnicodeForm::Name::kNfkc},
      {"NFKD", UnicodeForm::Name::kNfkd}};
  if (type == "Sequence") {
    for (const Part& item : part["normalizers"].items()) add(item);
  } else if (const auto form = kForms.find(type); form != kForms.end()) {
    steps_.push_back(UnicodeForm(form->second));
  } else if (type == "Replace") {
    steps_.push_back(Replace{pattern_of(part), part["content"].text()});
  } else if (type == "Prepend") {
    steps_.push_back(Prepend{part["prepend"].text()});
  } else if (type == "Lowercase") {
    steps_.push_back(Lowercase{});
  } else if (type == "StripAccents") {
    steps_.push_back(StripAccents{});
  } else if (type == "Strip") {
    steps_.push_back(Strip{part["strip_left"].boolean(), part["strip_right"].boolean()});
  } else {
    part.fail(
        fmt::format("got type {}, want NFC, NFD, NFKC, NFKD, Replace, Prepend, Lowercase, "
                    "Strip, StripAccents or Sequence",
                    type));
  }
}

bool Normalizer::unchanged(const Step& step, std::string_view text) {
  const auto* form = std::get_if<UnicodeForm>(&step);
  return form ? form->holds(text) : text.empty();
}

void Normalizer::run(const Step& step, const AlignedText& in, bool tracked, TextBuffer& out,
                     RegexWorkspace& workspace) {
  if (const auto* form = std::get_if<UnicodeForm>(&step)) {
    form->apply(in, tracked, out);
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
  } else if (std::holds_alternative<StripAccents>(step)) {
    drop_marks(in, tracked, out);
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
    out.limit = most_bytes_of(text.text.size());
    run(step, current, tracked, out, workspace);
    current = out.view(tracked);
    target = 1 - target;
  }
  return current;
}

}  // namespace limbic::data

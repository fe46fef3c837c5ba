#include "data/tokenizer/pre_tokenizer.h"

#include <algorithm>

#include "data/tokenizer/unicode/characters.h"
#include "data/tokenizer/utf8.h"

namespace limbic::data {
namespace {

// The words of GPT-2: what ByteLevel with `use_regex` cuts by.
constexpr std::string_view kGpt2Words =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

constexpr std::string_view kKnownTypes =
    "Sequence, Split, ByteLevel, Digits, Metaspace, Whitespace, WhitespaceSplit, Punctuation, "
    "BertPreTokenizer, CharDelimiterSplit or FixedLength";

Behavior behavior_of(const Part& part, std::optional<std::string> fallback = {}) {
  const std::string name = part.text(std::move(fallback));
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  part.fail(
      fmt::format("got {}, want Removed, Isolated, MergedWithPrevious, MergedWithNext or "
                  "Contiguous",
                  name));
}

Piece piece_at(std::uint32_t base, std::size_t begin, std::size_t end) {
  return {base + static_cast<std::uint32_t>(begin), base + static_cast<std::uint32_t>(end)};
}

template <class Matches>
void cut_characters(std::string_view text, std::uint32_t base, Matches matches, Joiner joiner) {
  std::size_t done = 0;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t start = i;
    if (!matches(next_code_point(text, i))) continue;
    if (done < start) joiner.add(piece_at(base, done, start), false);
    joiner.add(piece_at(base, start, i), true);
    done = i;
  }
  if (done < text.size()) joiner.add(piece_at(base, done, text.size()), false);
  joiner.finish();
}

// Runs of word characters and runs of what is neither that nor white space.
void cut_words(std::string_view text, std::uint32_t base, std::vector<Piece>& out) {
  enum class Kind { kSpace, kWord, kOther };
  const auto kind_of = [](char32_t c) {
    if (is_word_character(c)) return Kind::kWord;
    return is_white_space(c) ? Kind::kSpace : Kind::kOther;
  };
  std::size_t start = 0;
  Kind running = Kind::kSpace;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t here = i;
    const Kind kind = kind_of(next_code_point(text, i));
    if (kind == running) continue;
    if (running != Kind::kSpace) out.push_back(piece_at(base, start, here));
    start = here;
    running = kind;
  }
  if (running != Kind::kSpace) out.push_back(piece_at(base, start, text.size()));
}

void cut_lengths(std::string_view text, std::uint32_t base, std::int64_t characters,
                 std::vector<Piece>& out) {
  std::size_t start = 0;
  std::int64_t count = 0;
  for (std::size_t i = 0; i < text.size();) {
    next_code_point(text, i);
    if (++count < characters && i < text.size()) continue;
    out.push_back(piece_at(base, start, i));
    start = i;
    count = 0;
  }
}

void cut_matches(const Regex& pattern, bool invert, std::string_view text, std::uint32_t base,
                 Joiner joiner, RegexWorkspace& workspace) {
  std::size_t done = 0;
  RegexMatches matches(pattern, text, workspace);
  while (matches.next()) {
    if (done != matches.begin()) joiner.add(piece_at(base, done, matches.begin()), invert);
    joiner.add(piece_at(base, matches.begin(), matches.end()), !invert);
    done = matches.end();
  }
  if (done != text.size()) joiner.add(piece_at(base, done, text.size()), invert);
  joiner.finish();
}

// Cuts changed pieces behind every mark that follows something else.
void cut_at_marks(std::string_view text, const std::string& mark, std::vector<Piece>& pieces) {
  std::vector<Piece> out;
  for (const Piece& piece : pieces) {
    Joiner joiner(Behavior::kMergedWithNext, out);
    std::uint32_t done = piece.begin;
    for (std::size_t at = text.find(mark, piece.begin); at < piece.end;
         at = text.find(mark, done)) {
      const auto start = static_cast<std::uint32_t>(at);
      if (done < start) joiner.add({done, start}, false);
      done = start + static_cast<std::uint32_t>(mark.size());
      joiner.add({start, done}, true);
    }
    if (done < piece.end) joiner.add({done, piece.end}, false);
    joiner.finish();
  }
  pieces = std::move(out);
}

}  // namespace

PreTokenizer PreTokenizer::parse(const Part& part) {
  PreTokenizer pre_tokenizer;
  if (!part.is_null()) pre_tokenizer.add(part);
  return pre_tokenizer;
}

void PreTokenizer::add_split(const Part& part) {
  const Part pattern = part["pattern"];
  const bool is_regex = !pattern["Regex"].is_null();
  const std::string text = pattern[is_regex ? "Regex" : "String"].text();
  if (text.empty()) pattern.fail("got an empty pattern, want a text to cut at");
  steps_.push_back(
      Split{is_regex ? Regex(text, pattern.where()) : Regex::literal(text, pattern.where()),
            behavior_of(part["behavior"]), part["invert"].boolean(false)});
}

void PreTokenizer::add_byte_level(const Part& part) {
  if (part["add_prefix_space"].boolean(true)) steps_.push_back(PrefixSpace{});
  if (part["use_regex"].boolean(true)) {
    steps_.push_back(Split{Regex(kGpt2Words, part.where()), Behavior::kIsolated, false});
  }
  byte_level_ = true;
}

void PreTokenizer::add(const Part& part) {
  const std::string type = part["type"].text();
  if (type == "Sequence") {
    for (const Part& item : part["pretokenizers"].items()) add(item);
    return;
  }
  if (byte_level_) part.fail(fmt::format("got {} behind ByteLevel, which is not supported", type));
  if (type == "Split") {
    add_split(part);
  } else if (type == "ByteLevel") {
    add_byte_level(part);
  } else if (type == "Metaspace") {
    steps_.push_back(MarkSpaces{Metaspace::parse(part), part["split"].boolean(true)});
    if (std::get<MarkSpaces>(steps_.back()).options.prepend == Metaspace::Prepend::kFirst) {
      needs_origins_ = true;
    }
  } else if (type == "Digits") {
    const bool individual = part["individual_digits"].boolean(false);
    steps_.push_back(
        CharacterSplit{is_numeric, individual ? Behavior::kIsolated : Behavior::kContiguous});
  } else if (type == "Whitespace") {
    steps_.push_back(Words{});
  } else if (type == "WhitespaceSplit") {
    steps_.push_back(CharacterSplit{is_white_space, Behavior::kRemoved});
  } else if (type == "Punctuation") {
    steps_.push_back(CharacterSplit{is_punctuation, behavior_of(part["behavior"], "Isolated")});
  } else if (type == "BertPreTokenizer") {
    steps_.push_back(CharacterSplit{is_white_space, Behavior::kRemoved});
    steps_.push_back(CharacterSplit{is_punctuation, Behavior::kIsolated});
  } else if (type == "CharDelimiterSplit") {
    std::size_t start = 0;
    const char32_t delimiter = next_code_point(character_of(part["delimiter"]), start);
    steps_.push_back(CharacterSplit{nullptr, Behavior::kRemoved, delimiter});
  } else if (type == "FixedLength") {
    const Part length = part["length"];
    if (length.number() < 1) length.fail("got less than 1, want a number of characters");
    steps_.push_back(FixedLength{length.number()});
  } else {
    part.fail(fmt::format("got type {}, want {}", type, kKnownTypes));
  }
}

AlignedText PreTokenizer::prefix_spaces(const AlignedText& text, bool tracked,
                                        PieceBuffers& buffers) {
  const bool missing =
      std::any_of(buffers.pieces.begin(), buffers.pieces.end(),
                  [&](const Piece& piece) { return text.text[piece.begin] != ' '; });
  if (!missing) return text;
  TextBuffer changed;
  for (Piece& piece : buffers.pieces) {
    const auto start = static_cast<std::uint32_t>(changed.text.size());
    if (text.text[piece.begin] != ' ') {
      const std::uint32_t place = text.origin_of(piece.begin).begin;
      changed.append(" ", {place, place}, tracked);
    }
    changed.append(text, piece.begin, piece.end, tracked);
    piece = {start, static_cast<std::uint32_t>(changed.text.size())};
  }
  buffers.changed = std::move(changed);
  return buffers.changed.view(tracked);
}

AlignedText PreTokenizer::mark_spaces(const MarkSpaces& rule, const AlignedText& text, bool tracked,
                                      PieceBuffers& buffers) {
  const auto& [mark, prepend] = rule.options;
  TextBuffer changed;
  for (Piece& piece : buffers.pieces) {
    const auto start = static_cast<std::uint32_t>(changed.text.size());
    const std::string_view part = text.text.substr(piece.begin, piece.end - piece.begin);
    const std::uint32_t place = text.origin_of(piece.begin).begin;
    const bool wanted = prepend == Metaspace::Prepend::kAlways ||
                        (prepend == Metaspace::Prepend::kFirst && place == 0);
    if (wanted && part[0] != ' ' && !part.starts_with(mark)) {
      changed.append(mark, {place, place}, tracked);
    }
    std::size_t done = 0;
    for (std::size_t at = part.find(' '); at != part.npos; at = part.find(' ', done)) {
      changed.append(text, piece.begin + done, piece.begin + at, tracked);
      changed.append(mark, text.origin_of(piece.begin + at), tracked);
      done = at + 1;
    }
    changed.append(text, piece.begin + done, piece.end, tracked);
    piece = {start, static_cast<std::uint32_t>(changed.text.size())};
  }
  buffers.changed = std::move(changed);
  if (rule.split) cut_at_marks(buffers.changed.text, mark, buffers.pieces);
  return buffers.changed.view(tracked);
}

void PreTokenizer::cut(const Step& step, std::string_view text, std::uint32_t base,
                       std::vector<Piece>& out, RegexWorkspace& workspace) {
  if (const auto* split = std::get_if<Split>(&step)) {
    cut_matches(split->pattern, split->invert, text, base, Joiner(split->behavior, out), workspace);
  } else if (const auto* rule = std::get_if<CharacterSplit>(&step)) {
    const Joiner joiner(rule->behavior, out);
    if (rule->matches) {
      cut_characters(text, base, rule->matches, joiner);
    } else {
      cut_characters(
          text, base, [rule](char32_t c) { return c == rule->delimiter; }, joiner);
    }
  } else if (std::holds_alternative<Words>(step)) {
    cut_words(text, base, out);
  } else {
    cut_lengths(text, base, std::get<FixedLength>(step).characters, out);
  }
}

AlignedText PreTokenizer::split(const AlignedText& text, bool tracked, PieceBuffers& buffers,
                                RegexWorkspace& workspace) const {
  AlignedText current = text;
  buffers.pieces.clear();
  const auto size = static_cast<std::uint32_t>(text.text.size());
  if (size > 0) buffers.pieces.push_back({0, size});
  for (const Step& step : steps_) {
    if (std::holds_alternative<PrefixSpace>(step)) {
      current = prefix_spaces(current, tracked, buffers);
      continue;
    }
    if (const auto* rule = std::get_if<MarkSpaces>(&step)) {
      current = mark_spaces(*rule, current, tracked, buffers);
      continue;
    }
    buffers.spare.clear();
    for (const Piece& piece : buffers.pieces) {
      const std::string_view part = current.text.substr(piece.begin, piece.end - piece.begin);
      cut(step, part, piece.begin, buffers.spare, workspace);
    }
    std::swap(buffers.pieces, buffers.spare);
  }
  return current;
}

}  // namespace limbic::data

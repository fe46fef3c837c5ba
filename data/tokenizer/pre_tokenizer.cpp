#include "data/tokenizer/pre_tokenizer.h"

#include <unicode/uchar.h>

#include <algorithm>

#include "data/tokenizer/utf8.h"

namespace limbic::data {
namespace {

// The words of GPT-2: what ByteLevel with `use_regex` cuts by.
constexpr std::string_view kGpt2Words =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

struct Cut {
  Piece piece;
  bool is_match;
};

bool is_numeric(char32_t c) { return (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_N_MASK) != 0; }

// Matches and the gaps between them, in order.
std::vector<Cut> cuts_of(const Regex& pattern, bool invert, std::string_view text,
                         std::uint32_t base, RegexWorkspace& workspace) {
  std::vector<Cut> cuts;
  std::size_t done = 0;
  const auto add = [&](std::size_t begin, std::size_t end, bool is_match) {
    cuts.push_back(
        {{base + static_cast<std::uint32_t>(begin), base + static_cast<std::uint32_t>(end)},
         is_match != invert});
  };
  RegexMatches matches(pattern, text, workspace);
  while (matches.next()) {
    if (done != matches.begin()) add(done, matches.begin(), false);
    add(matches.begin(), matches.end(), true);
    done = matches.end();
  }
  if (done != text.size()) add(done, text.size(), false);
  return cuts;
}

void keep(Piece piece, std::vector<Piece>& out) {
  if (piece.begin < piece.end) out.push_back(piece);
}

void merge_with_next(const std::vector<Cut>& cuts, std::vector<Piece>& out) {
  const std::size_t first = out.size();
  bool previous = false;
  bool any = false;
  Piece open{};
  for (auto cut = cuts.rbegin(); cut != cuts.rend(); ++cut) {
    if (cut->is_match && !previous && any) {
      open.begin = cut->piece.begin;
    } else {
      if (any) keep(open, out);
      open = cut->piece;
      any = true;
    }
    previous = cut->is_match;
  }
  if (any) keep(open, out);
  std::reverse(out.begin() + static_cast<std::ptrdiff_t>(first), out.end());
}

// Joins a cut to the one before it where `joins(is_match, previous_is_match)` says so.
template <class Joins>
void merge_backwards(const std::vector<Cut>& cuts, Joins joins, std::vector<Piece>& out) {
  bool previous = false;
  bool any = false;
  Piece open{};
  for (const Cut& cut : cuts) {
    if (any && joins(cut.is_match, previous)) {
      open.end = cut.piece.end;
    } else {
      if (any) keep(open, out);
      open = cut.piece;
      any = true;
    }
    previous = cut.is_match;
  }
  if (any) keep(open, out);
}

void cut_digits(std::string_view text, std::uint32_t base, bool individual,
                std::vector<Piece>& out) {
  std::size_t start = 0;
  bool run_is_digits = false;
  const auto close = [&](std::size_t end) {
    keep({base + static_cast<std::uint32_t>(start), base + static_cast<std::uint32_t>(end)}, out);
    start = end;
  };
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t here = i;
    const bool digit = is_numeric(next_code_point(text, i));
    if (here > start && (digit != run_is_digits || (digit && individual))) close(here);
    run_is_digits = digit;
  }
  close(text.size());
}

}  // namespace

PreTokenizer PreTokenizer::parse(const Part& part) {
  PreTokenizer pre_tokenizer;
  if (!part.is_null()) pre_tokenizer.add(part);
  return pre_tokenizer;
}

PreTokenizer::Behavior PreTokenizer::behavior_of(const Part& part) {
  const std::string name = part.text();
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

void PreTokenizer::add(const Part& part) {
  const std::string type = part["type"].text();
  if (type == "Sequence") {
    for (const Part& item : part["pretokenizers"].items()) add(item);
    return;
  }
  if (byte_level_) part.fail(fmt::format("got {} behind ByteLevel, which is not supported", type));
  if (type == "Split") {
    const Part pattern = part["pattern"];
    const bool is_regex = !pattern["Regex"].is_null();
    const std::string text = pattern[is_regex ? "Regex" : "String"].text();
    if (text.empty()) pattern.fail("got an empty pattern, want a text to cut at");
    steps_.push_back(
        Split{is_regex ? Regex(text, pattern.where()) : Regex::literal(text, pattern.where()),
              behavior_of(part["behavior"]), part["invert"].boolean(false)});
  } else if (type == "ByteLevel") {
    if (part["add_prefix_space"].boolean(true)) steps_.push_back(PrefixSpace{});
    if (part["use_regex"].boolean(true)) {
      steps_.push_back(Split{Regex(kGpt2Words, part.where()), Behavior::kIsolated, false});
    }
    byte_level_ = true;
  } else if (type == "Digits") {
    steps_.push_back(Digits{part["individual_digits"].boolean(false)});
  } else {
    part.fail(fmt::format("got type {}, want Sequence, Split, ByteLevel or Digits", type));
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

void PreTokenizer::cut(const Split& rule, std::string_view text, std::uint32_t base,
                       std::vector<Piece>& out, RegexWorkspace& workspace) {
  if (rule.behavior == Behavior::kIsolated) {  // the common case, without the list of cuts
    std::uint32_t done = base;
    RegexMatches matches(rule.pattern, text, workspace);
    while (matches.next()) {
      const auto begin = base + static_cast<std::uint32_t>(matches.begin());
      const auto end = base + static_cast<std::uint32_t>(matches.end());
      keep({done, begin}, out);
      keep({begin, end}, out);
      done = end;
    }
    keep({done, base + static_cast<std::uint32_t>(text.size())}, out);
    return;
  }
  const std::vector<Cut> cuts = cuts_of(rule.pattern, rule.invert, text, base, workspace);
  switch (rule.behavior) {
    case Behavior::kMergedWithPrevious:
      return merge_backwards(
          cuts, [](bool match, bool before) { return match && !before; }, out);
    case Behavior::kMergedWithNext:
      return merge_with_next(cuts, out);
    case Behavior::kContiguous:
      return merge_backwards(
          cuts, [](bool match, bool before) { return match == before; }, out);
    default:
      for (const Cut& cut : cuts) {
        if (!cut.is_match) keep(cut.piece, out);
      }
  }
}

AlignedText PreTokenizer::split(const AlignedText& text, bool tracked, PieceBuffers& buffers,
                                RegexWorkspace& workspace) const {
  AlignedText current = text;
  buffers.pieces.clear();
  keep({0, static_cast<std::uint32_t>(text.text.size())}, buffers.pieces);
  for (const Step& step : steps_) {
    if (std::holds_alternative<PrefixSpace>(step)) {
      current = prefix_spaces(current, tracked, buffers);
      continue;
    }
    buffers.spare.clear();
    for (const Piece& piece : buffers.pieces) {
      const std::string_view part = current.text.substr(piece.begin, piece.end - piece.begin);
      if (const auto* digits = std::get_if<Digits>(&step)) {
        cut_digits(part, piece.begin, digits->individual, buffers.spare);
      } else {
        cut(std::get<Split>(step), part, piece.begin, buffers.spare, workspace);
      }
    }
    std::swap(buffers.pieces, buffers.spare);
  }
  return current;
}

}  // namespace limbic::data

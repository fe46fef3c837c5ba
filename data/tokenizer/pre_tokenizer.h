// The `pre_tokenizer` part of tokenizer.json: cuts a text into the pieces that byte-pair encoding
// never merges across.
#pragma once

#include <variant>
#include <vector>

#include "data/tokenizer/aligned_text.h"
#include "data/tokenizer/part.h"
#include "data/tokenizer/regex.h"

namespace limbic::data {

// Bytes [begin, end) of the text being cut.
struct Piece {
  std::uint32_t begin;
  std::uint32_t end;
};

// What the cutter writes; reused between texts.
struct PieceBuffers {
  std::vector<Piece> pieces;
  std::vector<Piece> spare;
  TextBuffer changed;
};

class PreTokenizer {
 public:
  // Knows Sequence, Split (all behaviours), ByteLevel and Digits; null cuts nothing. Throws
  // DataError for any other type, and for anything behind a ByteLevel.
  static PreTokenizer parse(const Part& part);

  // True: the vocabulary spells bytes by their stand-ins (byte_level.h).
  bool is_byte_level() const { return byte_level_; }

  // Fills `buffers.pieces` (never an empty piece) and returns the text that they are cut from:
  // `text` itself or, when a space had to be put in front of pieces, `buffers.changed`.
  AlignedText split(const AlignedText& text, bool tracked, PieceBuffers& buffers,
                    RegexWorkspace& workspace) const;

 private:
  enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };
  struct Split {
    Regex pattern;
    Behavior behavior;
    bool invert;
  };
  struct Digits {
    bool individual;
  };
  struct PrefixSpace {};
  using Step = std::variant<Split, Digits, PrefixSpace>;

  void add(const Part& part);
  static Behavior behavior_of(const Part& part);
  static void cut(const Split& rule, std::string_view text, std::uint32_t base,
                  std::vector<Piece>& out, RegexWorkspace& workspace);
  static AlignedText prefix_spaces(const AlignedText& text, bool tracked, PieceBuffers& buffers);

  std::vector<Step> steps_;
  bool byte_level_ = false;
};

}  // namespace limbic::data

// The `pre_tokenizer` part of tokenizer.json: cuts a text into the pieces that byte-pair encoding
// never merges across.
#pragma once

#include <variant>
#include <vector>

#include "data/tokenizer/aligned_text.h"
#include "data/tokenizer/cuts.h"
#include "data/tokenizer/metaspace.h"
#include "data/tokenizer/part.h"
#include "data/tokenizer/regex.h"

namespace limbic::data {

// What the cutter writes; reused between texts.
struct PieceBuffers {
  std::vector<Piece> pieces;
  std::vector<Piece> spare;
  TextBuffer changed;
};

class PreTokenizer {
 public:
  // Knows Sequence, Split (all behaviours), ByteLevel, Digits, Metaspace, Whitespace,
  // WhitespaceSplit, Punctuation, BertPreTokenizer, CharDelimiterSplit and FixedLength; null cuts
  // nothing. Throws DataError for any other type, and for anything behind a ByteLevel.
  static PreTokenizer parse(const Part& part);

  // True: the vocabulary spells bytes by their stand-ins (byte_level.h).
  bool is_byte_level() const { return byte_level_; }

  // True: what is done to a piece depends on whether it begins the input, so that the text must
  // know where its bytes come from.
  bool needs_origins() const { return needs_origins_; }

  // Fills `buffers.pieces` (never an empty piece) and returns the text that they are cut from:
  // `text` itself or, where pieces had to be changed, `buffers.changed`.
  AlignedText split(const AlignedText& text, bool tracked, PieceBuffers& buffers,
                    RegexWorkspace& workspace) const;

 private:
  struct Split {
    Regex pattern;
    Behavior behavior;
    bool invert;
  };
  // Every character that `matches` is a match of its own; `delimiter` is one more.
  struct CharacterSplit {
    bool (*matches)(char32_t);
    Behavior behavior;
    char32_t delimiter = 0;
  };
  struct Words {};
  struct FixedLength {
    std::int64_t characters;
  };
  struct PrefixSpace {};
  struct MarkSpaces {
    Metaspace options;
    bool split;
  };
  using Step = std::variant<Split, CharacterSplit, Words, FixedLength, PrefixSpace, MarkSpaces>;

  void add(const Part& part);
  void add_split(const Part& part);
  void add_byte_level(const Part& part);
  static void cut(const Step& step, std::string_view text, std::uint32_t base,
                  std::vector<Piece>& out, RegexWorkspace& workspace);
  static AlignedText prefix_spaces(const AlignedText& text, bool tracked, PieceBuffers& buffers);
  static AlignedText mark_spaces(const MarkSpaces& rule, const AlignedText& text, bool tracked,
                                 PieceBuffers& buffers);

  std::vector<Step> steps_;
  bool byte_level_ = false;
  bool needs_origins_ = false;
};

}  // namespace limbic::data

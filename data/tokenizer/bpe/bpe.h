// The `model` part of tokenizer.json: byte-pair encoding. A piece starts as single characters
// (single bytes in a byte-level vocabulary) and the adjacent pair that was learnt first is merged,
// the leftmost one of equals, until no known pair is left.
// Source: arXiv:1508.07909; the file format of Hugging Face tokenizers.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/tokenizer/bpe/piece_cache.h"
#include "data/tokenizer/part.h"

namespace limbic::data {

// Above any vocabulary; a larger id would only ask for memory, because tokens are listed by id.
constexpr std::int64_t kMaxTokenId = (std::int64_t{1} << 22) - 1;

// A token and the bytes [begin, end) of the piece that it stands for.
struct BpeSymbol {
  std::int32_t id;
  std::uint32_t begin;
  std::uint32_t end;
};

// What encoding writes; reused between pieces.
struct BpeBuffers {
  struct Link {
    BpeSymbol symbol;
    std::int32_t previous;
    std::int32_t next;
  };
  struct Candidate {
    std::uint32_t rank;
    std::int32_t position;
    std::int32_t merged_id;
  };
  std::vector<BpeSymbol> symbols;
  std::vector<Candidate> candidates;
  std::vector<Link> links;
};

// An entry of a SentencePiece vocabulary, whose place is its id.
struct ScoredPiece {
  enum class Role { kText, kUnknown, kReserved };
  std::string spelling;
  float score = 0;
  Role role = Role::kText;
};

class BpeModel {
 public:
  // `byte_level`: the vocabulary spells bytes by their stand-ins. Throws DataError for any other
  // model, for dropout, for word prefixes and suffixes, and for merges that do not fit the
  // vocabulary.
  static BpeModel parse(const Part& part, bool byte_level);
  // SentencePiece's form: two neighbours merge when together they are a text piece, the one of the
  // highest score first. Throws DataError that begins with `where`.
  static BpeModel from_pieces(const std::vector<ScoredPiece>& pieces, bool byte_fallback,
                              const std::string& where);

  // The tokens of one piece, appended. A byte or character that the vocabulary does not know and
  // that has neither fallback nor unknown token is left out, as the format's owner does.
  void encode(std::string_view piece, PieceCache& cache, BpeBuffers& buffers,
              std::vector<std::int32_t>& out) const;
  // Same with the place of every token in the piece; uses no cache.
  void encode(std::string_view piece, BpeBuffers& buffers, std::vector<BpeSymbol>& out) const;

  // Spelling (as in the file) to id.
  const std::unordered_map<std::string, std::int32_t>& vocabulary() const { return vocabulary_; }

 private:
  // Open addressing over (left, right), at most half full.
  class MergeTable {
   public:
    struct Merge {
      std::uint32_t rank = kNone;
      std::int32_t id = 0;
    };
    static constexpr std::uint32_t kNone = 0xFFFFFFFF;
    void reserve(std::size_t merges);
    void set(std::int32_t left, std::int32_t right, Merge merge);
    Merge find(std::int32_t left, std::int32_t right) const;

   private:
    struct Slot {
      std::uint64_t key = kFree;
      Merge merge;
    };
    static constexpr std::uint64_t kFree = ~0ULL;
    static std::uint64_t key_of(std::int32_t left, std::int32_t right);
    std::size_t slot_of(std::uint64_t key) const;
    std::vector<Slot> slots_;
    int shift_ = 64;
  };

  void read_options(const Part& part);
  void read_vocabulary(const Part& part);
  void read_merges(const Part& part);
  void add_merges_of(const std::vector<ScoredPiece>& pieces);
  void prepare_alphabet();
  std::int32_t id_or_none(const std::string& spelling) const;
  // Calls `add(id, begin, end)` for the first symbols of a piece.
  void first_symbols(std::string_view piece, std::vector<BpeSymbol>& out) const;
  void unknown(std::string_view spelling, BpeSymbol place, std::vector<BpeSymbol>& out,
               std::optional<BpeSymbol>& pending) const;
  void merge(BpeBuffers& buffers) const;
  void merge_short(BpeBuffers& buffers) const;
  void merge_long(BpeBuffers& buffers) const;
  // The single token of the whole piece, where the model takes that shortcut.
  std::int32_t whole(std::string_view piece) const;

  bool byte_level_ = false;
  bool fuse_unknown_ = false;
  bool byte_fallback_ = false;
  bool ignore_merges_ = false;
  std::int32_t unknown_id_ = kNoToken;
  std::unordered_map<std::string, std::int32_t> vocabulary_;
  std::unordered_map<std::string, std::int32_t> by_bytes_;  // only with ignore_merges_
  std::array<std::int32_t, 256> byte_ids_{};
  std::array<std::string, 256> byte_spellings_;
  std::array<std::int32_t, 256> fallback_ids_{};
  MergeTable merges_;
  static constexpr std::int32_t kNoToken = -1;
};

}  // namespace limbic::data

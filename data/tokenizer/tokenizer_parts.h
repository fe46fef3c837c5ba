// What a loaded tokenizer consists of, and the scratch memory of one encoding thread.
#pragma once

#include <mutex>
#include <unordered_set>

#include "data/tokenizer/added_tokens.h"
#include "data/tokenizer/bpe/bpe.h"
#include "data/tokenizer/bpe/piece_cache.h"
#include "data/tokenizer/normalizer.h"
#include "data/tokenizer/pre_tokenizer.h"
#include "data/tokenizer/token_decoder.h"
#include "data/tokenizer/tokenizer.h"

namespace limbic::data {

struct EncodeWorkspace {
  RegexWorkspace regex;
  PieceCache cache;
  BpeBuffers bpe;
  PieceBuffers pieces;
  TextBuffer normalized[2];
  std::vector<AddedTokenSplit> raw_splits;
  std::vector<AddedTokenSplit> normalized_splits;
  std::vector<BpeSymbol> symbols;
};

// Lends workspaces so that every one serves a single thread at a time; there are never more than
// threads that encoded at once.
class WorkspacePool {
 public:
  class Lease {
   public:
    explicit Lease(WorkspacePool& pool) : pool_(pool), workspace_(pool.take()) {}
    ~Lease() { pool_.give(std::move(workspace_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    EncodeWorkspace& operator*() { return *workspace_; }

   private:
    WorkspacePool& pool_;
    std::unique_ptr<EncodeWorkspace> workspace_;
  };

 private:
  std::unique_ptr<EncodeWorkspace> take();
  void give(std::unique_ptr<EncodeWorkspace> workspace);
  std::mutex mutex_;
  std::vector<std::unique_ptr<EncodeWorkspace>> idle_;
};

struct Tokenizer::Parts {
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  BpeModel model;
  TokenDecoder decoder;
  AddedTokenMatcher raw_tokens;                       // found in the text as it is
  AddedTokenMatcher normalized_tokens;                // found in the normalised text
  std::unordered_map<std::string, std::int32_t> ids;  // vocabulary and added tokens
  std::vector<std::optional<std::string>> spellings;  // by id
  // What decoding starts from where it is not the spelling: added tokens that are looked for in
  // normalised text are also written in their normalised form.
  std::unordered_map<std::int32_t, std::string> normalized_spellings;
  std::vector<std::string> bytes;  // by id, for a byte-level decoder
  std::unordered_set<std::int32_t> special;
  std::optional<std::int32_t> eos, bos, pad;
  std::vector<std::int32_t> in_front, behind;  // what the post-processor puts around a text
  Json config = Json::object();
  mutable WorkspacePool pool;

  // `tracked` asks for the offsets too.
  void encode(std::string_view text, bool tracked, Encoded& out) const;
  // Makes `spelling` the token of this id.
  void name_token(std::int32_t id, const std::string& spelling);
  bool has(std::int32_t id) const;
  // Requires: has(id).
  const std::string& decoded_spelling(std::int32_t id) const;

 private:
  void encode_between(const AlignedText& text, bool tracked, EncodeWorkspace& workspace,
                      Encoded& out) const;
  void encode_words(const AlignedText& text, bool tracked, EncodeWorkspace& workspace,
                    Encoded& out) const;
};

}  // namespace limbic::data

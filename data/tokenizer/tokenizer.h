// Byte-pair tokenizers of Hugging Face model folders: `tokenizer.json` is the truth, and
// `tokenizer_config.json` names the special tokens. Token ids equal those of the `tokenizers`
// package. Truncation, padding and the post-processor of the file are left to the caller: encoding
// adds nothing.
//
// Every const function may be called from several threads at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "trainer/base/fields.h"

namespace limbic::data {

class Tokenizer {
 public:
  // Throws DataError with file and place: no tokenizer.json, or a part of it that is unknown.
  static Tokenizer load(const std::string& folder);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // Added tokens that stand in the text are recognised. Throws DataError when the text is not
  // well-formed UTF-8 or reaches 2 GiB.
  std::vector<std::int32_t> encode(std::string_view text) const;
  // A text by itself, as the post-processor wants it: often behind a begin-of-sequence token. What
  // the text has there already is not doubled.
  std::vector<std::int32_t> encode_document(std::string_view text) const;

  struct Encoded {
    std::vector<std::int32_t> ids;
    // The bytes [first, second) of the input that each token stands for. A token may cover part of
    // a character; one that the tokenizer put in by itself covers nothing.
    std::vector<std::pair<std::size_t, std::size_t>> offsets;
  };
  Encoded encode_with_offsets(std::string_view text) const;

  // Ids that no token has are passed over (models pad their vocabulary). Bytes that form no
  // character become U+FFFD.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const;

  std::optional<std::int32_t> id_of(std::string_view token) const;
  // The spelling in the file. Throws DataError when no token has this id.
  const std::string& token_of(std::int32_t id) const;
  // Highest id + 1.
  std::int32_t size() const;
  bool is_special(std::int32_t id) const;

  // Named by tokenizer_config.json or special_tokens_map.json; empty when they name none.
  std::optional<std::int32_t> eos_id() const;
  std::optional<std::int32_t> bos_id() const;
  std::optional<std::int32_t> pad_id() const;

  // tokenizer_config.json with what tokenizer_config.h adds.
  const Json& config() const;

  struct Parts;  // tokenizer_parts.h; not for callers

 private:
  friend class StreamDecoder;
  explicit Tokenizer(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

// Turns tokens into text while they arrive. The outputs of all `push` calls and of `finish` add up
// to `decode` of all ids.
class StreamDecoder {
 public:
  // Requires: the tokenizer outlives the decoder.
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens);
  // The text that became certain with this token: whole characters only, often empty.
  std::string push(std::int32_t id);
  // What is left at the end: U+FFFD when the last character was cut.
  std::string finish();

 private:
  std::string push_by_window(std::int32_t id);

  const Tokenizer& tokenizer_;
  bool skip_special_tokens_;
  std::string pending_;               // bytes of an unfinished character
  std::vector<std::int32_t> window_;  // only without a byte-level decoder
  std::size_t shown_ = 0;             // bytes of the window's text that are out already
};

}  // namespace limbic::data

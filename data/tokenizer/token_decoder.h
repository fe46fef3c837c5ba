// The `decoder` part of tokenizer.json: from the spellings of tokens back to text.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "data/tokenizer/metaspace.h"
#include "data/tokenizer/part.h"
#include "data/tokenizer/regex.h"

namespace limbic::data {

class TokenDecoder {
 public:
  // Knows ByteLevel, Sequence, Replace, ByteFallback, Fuse, Strip and Metaspace; null joins the
  // spellings with spaces. Throws DataError for any other type.
  static TokenDecoder parse(const Part& part);

  // True: the text is the concatenation of what each token alone stands for, as bytes.
  bool is_byte_level() const;

  // True while the text of a row that ends with this token can still change when more tokens come.
  bool waits_for_more(const std::string& last) const;

  // The text of a row of tokens; ill-formed bytes become U+FFFD. Throws DataError when the rules
  // make it many times longer.
  std::string decode(std::vector<std::string> spellings) const;

 private:
  struct ByteLevel {};
  struct ByteFallback {};
  struct Fuse {};
  struct Replace {
    Regex pattern;
    std::string content;
  };
  struct Strip {
    std::string content;
    std::int64_t start;
    std::int64_t stop;
  };
  using Step = std::variant<ByteLevel, ByteFallback, Fuse, Replace, Strip, Metaspace>;

  void add(const Part& part);
  static void run(const Step& step, std::vector<std::string>& tokens, std::size_t limit);

  bool join_with_spaces_ = false;
  std::vector<Step> steps_;
};

// The bytes that a token of a byte-level vocabulary stands for; a spelling with other characters
// stands for itself.
std::string bytes_of_token(const std::string& spelling);

}  // namespace limbic::data

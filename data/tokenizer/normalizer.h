// The `normalizer` part of tokenizer.json: a list of text changes applied before splitting.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "data/tokenizer/aligned_text.h"
#include "data/tokenizer/part.h"
#include "data/tokenizer/regex.h"
#include "data/tokenizer/unicode/unicode_form.h"

namespace limbic::data {

class Normalizer {
 public:
  // Null gives the identity. Knows NFC, NFD, NFKC, NFKD, Replace, Prepend, Lowercase, Strip,
  // StripAccents and Sequence. Throws DataError for any other type.
  static Normalizer parse(const Part& part);

  bool is_identity() const { return steps_.empty(); }

  // The changed text; lives in `buffers` (or is `text` itself) until they are used again.
  // `tracked` = false skips the bookkeeping of origins.
  AlignedText apply(const AlignedText& text, bool tracked, TextBuffer (&buffers)[2],
                    RegexWorkspace& workspace) const;

 private:
  struct Replace {
    Regex pattern;
    std::string content;
  };
  struct Prepend {
    std::string text;
  };
  struct Lowercase {};
  struct StripAccents {};
  struct Strip {
    bool left;
    bool right;
  };
  using Step = std::variant<UnicodeForm, Replace, Prepend, Lowercase, StripAccents, Strip>;

  void add(const Part& part);
  static bool unchanged(const Step& step, std::string_view text);
  static void run(const Step& step, const AlignedText& text, bool tracked, TextBuffer& out,
                  RegexWorkspace& workspace);

  std::vector<Step> steps_;
};

}  // namespace limbic::data

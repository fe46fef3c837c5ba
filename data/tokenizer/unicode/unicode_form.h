// The normal forms of Unicode (UAX #15), for characters of Unicode 9: younger ones stay as they are
// and end what is reordered or composed, as in the `tokenizers` package.
#pragma once

#include <memory>
#include <string_view>

#include "data/tokenizer/aligned_text.h"

namespace limbic::data {

class UnicodeForm {
 public:
  enum class Name { kNfc, kNfd, kNfkc, kNfkd };
  explicit UnicodeForm(Name name);

  // True: the text is in this form already.
  bool holds(std::string_view text) const;
  // Requires: the text is shorter than 2 GiB.
  void apply(const AlignedText& in, bool tracked, TextBuffer& out) const;

 private:
  struct Form;
  std::shared_ptr<const Form> form_;
};

}  // namespace limbic::data

#include "data/tokenizer/unicode/unicode_form.h"

#include <unicode/bytestream.h>
#include <unicode/edits.h>
#include <unicode/normalizer2.h>
#include <unicode/uniset.h>

#include <string>

#include "trainer/base/error.h"

namespace limbic::data {
namespace {

icu::StringPiece piece_of(std::string_view text) {
  return {text.data(), static_cast<std::int32_t>(text.size())};
}

void require_success(UErrorCode code) {
  check(U_SUCCESS(code), std::string("Unicode library: ") + u_errorName(code));
}

const icu::Normalizer2& newest(UnicodeForm::Name name) {
  using Name = UnicodeForm::Name;
  const bool compose = name == Name::kNfc || name == Name::kNfkc;
  const bool canonical = name == Name::kNfc || name == Name::kNfd;
  UErrorCode code = U_ZERO_ERROR;
  const icu::Normalizer2* found = icu::Normalizer2::getInstance(
      nullptr, canonical ? "nfc" : "nfkc", compose ? UNORM2_COMPOSE : UNORM2_DECOMPOSE, code);
  require_success(code);
  return *found;
}

icu::UnicodeSet characters_of_unicode_9() {
  UErrorCode code = U_ZERO_ERROR;
  icu::UnicodeSet set(u"[:age=9.0:]", code);
  require_success(code);
  set.freeze();
  return set;
}

}  // namespace

struct UnicodeForm::Form {
  const icu::Normalizer2& all;
  const icu::UnicodeSet known = characters_of_unicode_9();
  const icu::FilteredNormalizer2 filtered{all, known};

  explicit Form(Name name) : all(newest(name)) {}
};

UnicodeForm::UnicodeForm(Name name) : form_(std::make_shared<const Form>(name)) {}

bool UnicodeForm::holds(std::string_view text) const {
  // What is normal with all characters is so between any of them; this check is the fast one.
  UErrorCode code = U_ZERO_ERROR;
  const bool normal = form_->all.isNormalizedUTF8(piece_of(text), code);
  require_success(code);
  return normal;
}

void UnicodeForm::apply(const AlignedText& in, bool tracked, TextBuffer& out) const {
  UErrorCode code = U_ZERO_ERROR;
  icu::StringByteSink<std::string> sink(&out.text);
  icu::Edits edits;
  form_->filtered.normalizeUTF8(0, piece_of(in.text), sink, tracked ? &edits : nullptr, code);
  require_success(code);
  if (!tracked) return;
  icu::Edits::Iterator edit = edits.getFineIterator();
  while (edit.next(code)) {
    const auto from = static_cast<std::size_t>(edit.sourceIndex());
    const auto old_length = static_cast<std::size_t>(edit.oldLength());
    const auto new_length = static_cast<std::size_t>(edit.newLength());
    for (std::size_t i = 0; i < new_length; ++i) {
      out.origin.push_back(edit.hasChange() ? in.origin_of(from, from + old_length)
                                            : in.origin_of(from + i));
    }
  }
}

}  // namespace limbic::data

#include "data/tokenizer/tokenizer_parts.h"
#include "data/tokenizer/utf8.h"

namespace limbic::data {

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
    : tokenizer_(tokenizer), skip_special_tokens_(skip_special_tokens) {}

std::string StreamDecoder::push(std::int32_t id) {
  const Tokenizer::Parts& parts = *tokenizer_.parts_;
  if (!parts.has(id) || (skip_special_tokens_ && tokenizer_.is_special(id))) return "";
  if (!parts.decoder.is_byte_level()) return push_by_window(id);
  pending_ += parts.bytes[static_cast<std::size_t>(id)];
  const std::size_t whole = complete_utf8_prefix(pending_);
  std::string text = repair_utf8(std::string_view(pending_).substr(0, whole));
  pending_.erase(0, whole);
  return text;
}

// Decoders that look at neighbours or at the start of the text: the last tokens are decoded again
// together, and what has grown is new. A run of byte tokens stays back until it ends, because its
// last byte decides whether all of it is text.
std::string StreamDecoder::push_by_window(std::int32_t id) {
  constexpr std::size_t kWindow = 16;
  const Tokenizer::Parts& parts = *tokenizer_.parts_;
  window_.push_back(id);
  if (parts.decoder.waits_for_more(parts.decoded_spelling(id))) return "";
  const std::string text = tokenizer_.decode(window_, skip_special_tokens_);
  if (text.size() <= shown_ || text.ends_with("\xEF\xBF\xBD")) return "";
  std::string fresh = text.substr(shown_);
  shown_ = text.size();
  if (window_.size() <= kWindow) return fresh;
  const std::string last = tokenizer_.decode(std::span(&id, 1), skip_special_tokens_);
  if (!last.empty()) {  // enough to take what is stripped from the start of a text
    window_.assign(1, id);
    shown_ = last.size();
  }
  return fresh;
}

std::string StreamDecoder::finish() {
  std::string rest = repair_utf8(pending_);
  if (!window_.empty()) {
    const std::string text = tokenizer_.decode(window_, skip_special_tokens_);
    if (text.size() > shown_) rest += text.substr(shown_);
  }
  pending_.clear();
  window_.clear();
  shown_ = 0;
  return rest;
}

}  // namespace limbic::data

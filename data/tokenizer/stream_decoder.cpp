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
// together, and what has grown is new.
std::string StreamDecoder::push_by_window(std::int32_t id) {
  constexpr std::size_t kWindow = 16;
  window_.push_back(id);
  const std::string text = tokenizer_.decode(window_, skip_special_tokens_);
  if (text.size() <= shown_ || text.ends_with("\xEF\xBF\xBD")) return "";
  std::string fresh = text.substr(shown_);
  if (window_.size() > kWindow) {
    window_.erase(window_.begin(), window_.end() - 1);
    shown_ = tokenizer_.decode(window_, skip_special_tokens_).size();
  } else {
    shown_ = text.size();
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

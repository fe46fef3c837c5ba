#include "data/tokenizer/tokenizer.h"

#include <fmt/format.h>

#include <limits>

#include "data/tokenizer/tokenizer_parts.h"
#include "data/tokenizer/utf8.h"

namespace limbic::data {

std::unique_ptr<EncodeWorkspace> WorkspacePool::take() {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto workspace = std::move(idle_.back());
      idle_.pop_back();
      return workspace;
    }
  }
  return std::make_unique<EncodeWorkspace>();
}

void WorkspacePool::give(std::unique_ptr<EncodeWorkspace> workspace) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(workspace));
}

Tokenizer::Tokenizer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

bool Tokenizer::Parts::has(std::int32_t id) const {
  return id >= 0 && static_cast<std::size_t>(id) < spellings.size() &&
         spellings[static_cast<std::size_t>(id)].has_value();
}

const std::string& Tokenizer::Parts::decoded_spelling(std::int32_t id) const {
  const auto normal = normalized_spellings.find(id);
  return normal == normalized_spellings.end() ? *spellings[static_cast<std::size_t>(id)]
                                              : normal->second;
}

void Tokenizer::Parts::encode_words(const AlignedText& text, bool tracked,
                                    EncodeWorkspace& workspace, Encoded& out) const {
  const AlignedText cut = pre_tokenizer.split(text, tracked || pre_tokenizer.needs_origins(),
                                              workspace.pieces, workspace.regex);
  for (const Piece& piece : workspace.pieces.pieces) {
    const std::string_view word = cut.text.substr(piece.begin, piece.end - piece.begin);
    if (!tracked) {
      model.encode(word, workspace.cache, workspace.bpe, out.ids);
      continue;
    }
    workspace.symbols.clear();
    model.encode(word, workspace.bpe, workspace.symbols);
    for (const BpeSymbol& symbol : workspace.symbols) {
      const ByteRange from = cut.origin_of(piece.begin + symbol.begin, piece.begin + symbol.end);
      out.ids.push_back(symbol.id);
      out.offsets.emplace_back(from.begin, from.end);
    }
  }
}

void Tokenizer::Parts::encode_between(const AlignedText& text, bool tracked,
                                      EncodeWorkspace& workspace, Encoded& out) const {
  const AlignedText normal = normalizer.apply(text, tracked || pre_tokenizer.needs_origins(),
                                              workspace.normalized, workspace.regex);
  if (normalized_tokens.empty()) return encode_words(normal, tracked, workspace, out);
  normalized_tokens.split(normal.text, workspace.normalized_splits);
  for (const AddedTokenSplit& split : workspace.normalized_splits) {
    if (split.id == AddedTokenSplit::kText) {
      encode_words(normal.part(split.begin, split.end), tracked, workspace, out);
      continue;
    }
    out.ids.push_back(split.id);
    if (!tracked) continue;
    const ByteRange from = normal.origin_of(split.begin, split.end);
    out.offsets.emplace_back(from.begin, from.end);
  }
}

void Tokenizer::Parts::encode(std::string_view text, bool tracked, Encoded& out) const {
  if (const std::size_t bad = find_invalid_utf8(text); bad != std::string_view::npos) {
    throw DataError(fmt::format("tokenizer: got a text with the byte 0x{:02X} at {}, want UTF-8",
                                static_cast<unsigned char>(text[bad]), bad));
  }
  if (text.size() >= static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) {
    throw DataError(
        fmt::format("tokenizer: got a text of {} bytes, want less than 2 GiB", text.size()));
  }
  WorkspacePool::Lease lease(pool);
  EncodeWorkspace& workspace = *lease;
  raw_tokens.split(text, workspace.raw_splits);
  for (const AddedTokenSplit& split : workspace.raw_splits) {
    if (split.id == AddedTokenSplit::kText) {
      encode_between({text.substr(split.begin, split.end - split.begin),
                      static_cast<std::uint32_t>(split.begin), nullptr},
                     tracked, workspace, out);
      continue;
    }
    out.ids.push_back(split.id);
    if (tracked) out.offsets.emplace_back(split.begin, split.end);
  }
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
  Encoded encoded;
  parts_->encode(text, false, encoded);
  return std::move(encoded.ids);
}

Tokenizer::Encoded Tokenizer::encode_with_offsets(std::string_view text) const {
  Encoded encoded;
  parts_->encode(text, true, encoded);
  return encoded;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const {
  const bool by_bytes = parts_->decoder.is_byte_level();
  std::string bytes;
  std::vector<std::string> spellings;
  for (const std::int32_t id : ids) {
    if (!parts_->has(id) || (skip_special_tokens && is_special(id))) continue;
    if (by_bytes) {
      bytes += parts_->bytes[static_cast<std::size_t>(id)];
    } else {
      spellings.push_back(parts_->decoded_spelling(id));
    }
  }
  return by_bytes ? repair_utf8(bytes) : parts_->decoder.decode(std::move(spellings));
}

std::optional<std::int32_t> Tokenizer::id_of(std::string_view token) const {
  const auto found = parts_->ids.find(std::string(token));
  if (found == parts_->ids.end()) return std::nullopt;
  return found->second;
}

const std::string& Tokenizer::token_of(std::int32_t id) const {
  if (!parts_->has(id)) {
    throw DataError(
        fmt::format("tokenizer: got id {}, want the id of a token (0 to {})", id, size() - 1));
  }
  return *parts_->spellings[static_cast<std::size_t>(id)];
}

std::int32_t Tokenizer::size() const { return static_cast<std::int32_t>(parts_->spellings.size()); }
bool Tokenizer::is_special(std::int32_t id) const { return parts_->special.contains(id); }
std::vector<std::int32_t> Tokenizer::encode_document(std::string_view text) const {
  std::vector<std::int32_t> ids = encode(text);
  const std::vector<std::int32_t>&first = parts_->in_front, &last = parts_->behind;
  const bool begun =
      ids.size() >= first.size() && std::equal(first.begin(), first.end(), ids.begin());
  if (!begun) ids.insert(ids.begin(), first.begin(), first.end());
  const bool ended =
      ids.size() >= last.size() && std::equal(last.rbegin(), last.rend(), ids.rbegin());
  if (!ended) ids.insert(ids.end(), last.begin(), last.end());
  return ids;
}
std::optional<std::int32_t> Tokenizer::eos_id() const { return parts_->eos; }
std::optional<std::int32_t> Tokenizer::bos_id() const { return parts_->bos; }
std::optional<std::int32_t> Tokenizer::pad_id() const { return parts_->pad; }
const Json& Tokenizer::config() const { return parts_->config; }

}  // namespace limbic::data

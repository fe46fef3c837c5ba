#include "data/tokenizer/bpe/piece_cache.h"

#include <algorithm>
#include <cstring>

namespace limbic::data {

std::size_t PieceCache::slot_of(std::string_view piece) {
  constexpr std::uint64_t kMix = 0x9E3779B97F4A7C15ULL;
  std::uint64_t hash = piece.size() * kMix;
  std::size_t i = 0;
  for (; i + 8 <= piece.size(); i += 8) {
    std::uint64_t word;
    std::memcpy(&word, piece.data() + i, 8);
    hash = (hash ^ word) * kMix;
    hash ^= hash >> 29;
  }
  std::uint64_t rest = 0;
  std::memcpy(&rest, piece.data() + i, piece.size() - i);
  hash = (hash ^ rest) * kMix;
  return (hash ^ (hash >> 32)) % kSlots;
}

bool PieceCache::find(std::string_view piece, std::vector<std::int32_t>& out) const {
  if (piece.empty() || piece.size() > kMaxBytes) return false;
  const Slot& slot = slots_[slot_of(piece)];
  if (slot.bytes != piece.size()) return false;
  if (std::memcmp(slot.piece.data(), piece.data(), piece.size()) != 0) return false;
  out.insert(out.end(), slot.ids.begin(), slot.ids.begin() + slot.tokens);
  return true;
}

void PieceCache::keep(std::string_view piece, std::span<const std::int32_t> ids) {
  if (piece.empty() || piece.size() > kMaxBytes || ids.size() > kMaxTokens) return;
  Slot& slot = slots_[slot_of(piece)];
  slot.bytes = static_cast<std::uint8_t>(piece.size());
  slot.tokens = static_cast<std::uint8_t>(ids.size());
  std::copy(piece.begin(), piece.end(), slot.piece.begin());
  std::copy(ids.begin(), ids.end(), slot.ids.begin());
}

}  // namespace limbic::data

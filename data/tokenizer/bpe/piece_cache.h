// Remembers the tokens of short pieces. Fixed size: a newer piece takes the place of an older one
// that falls on the same slot. Not for use by two threads at once.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace limbic::data {

class PieceCache {
 public:
  PieceCache() : slots_(kSlots) {}

  // Appends the tokens of `piece`; false when they are not known.
  bool find(std::string_view piece, std::vector<std::int32_t>& out) const;
  // Long pieces and pieces of many tokens are not kept.
  void keep(std::string_view piece, std::span<const std::int32_t> ids);

 private:
  static constexpr std::size_t kSlots = std::size_t{1} << 15;
  static constexpr std::size_t kMaxBytes = 30;
  static constexpr std::size_t kMaxTokens = 8;
  struct Slot {
    std::uint8_t bytes = 0;  // 0: free
    std::uint8_t tokens = 0;
    std::array<char, kMaxBytes> piece{};
    std::array<std::int32_t, kMaxTokens> ids{};
  };
  static_assert(sizeof(Slot) == 64, "one cache line");
  static std::size_t slot_of(std::string_view piece);
  std::vector<Slot> slots_;
};

}  // namespace limbic::data

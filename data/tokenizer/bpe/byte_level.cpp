#include "data/tokenizer/bpe/byte_level.h"

#include "data/tokenizer/utf8.h"

namespace limbic::data {
namespace {

constexpr bool prints_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr std::array<char32_t, 256> make_characters() {
  std::array<char32_t, 256> table{};
  char32_t spare = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    table[static_cast<std::size_t>(byte)] =
        prints_itself(byte) ? static_cast<char32_t>(byte) : spare++;
  }
  return table;
}

constexpr std::array<char32_t, 256> kCharacters = make_characters();
constexpr std::size_t kStandIns = 0x100 + 68;  // 68 bytes do not print themselves

constexpr std::array<std::int16_t, kStandIns> make_bytes() {
  std::array<std::int16_t, kStandIns> table{};
  for (auto& entry : table) entry = -1;
  for (std::size_t byte = 0; byte < 256; ++byte) {
    table[kCharacters[byte]] = static_cast<std::int16_t>(byte);
  }
  return table;
}

constexpr std::array<std::int16_t, kStandIns> kBytes = make_bytes();

}  // namespace

const std::array<char32_t, 256>& byte_level_characters() { return kCharacters; }

std::optional<std::string> byte_level_bytes(std::string_view spelling) {
  std::string bytes;
  for (std::size_t i = 0; i < spelling.size();) {
    const char32_t c = next_code_point(spelling, i);
    if (c >= kStandIns || kBytes[c] < 0) return std::nullopt;
    bytes += static_cast<char>(kBytes[c]);
  }
  return bytes;
}

}  // namespace limbic::data

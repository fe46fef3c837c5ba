// Random texts that C++ and random_text.py make alike, from the words, letters and blocks of
// random_text.json.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "trainer/base/fields.h"

namespace limbic::data {

class RandomTexts {
 public:
  // `material`: random_text.json. `tokens`: further words.
  RandomTexts(const Json& material, std::vector<std::string> tokens);

  // Words, letters of scripts, characters of all planes, white space, tokens.
  std::string text(std::uint64_t number) const;

 private:
  class Draws;
  void add_part(Draws& draws, std::string& out) const;

  std::vector<std::string> words_;
  std::vector<std::vector<char32_t>> alphabets_;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> blocks_;
  std::vector<std::string> tokens_;
};

}  // namespace limbic::data

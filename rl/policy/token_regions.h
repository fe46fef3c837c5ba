// Which tokens of a completion stand inside a tag.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/tokenizer/tokenizer.h"

namespace limbic::rl {

// [ids] true for tokens with a byte in the last complete pair of `tag` (its content without outer
// white space); empty when there is none.
std::vector<bool> tokens_in_region(const data::Tokenizer& tokenizer,
                                   std::span<const std::int32_t> ids, const std::string& tag);

}  // namespace limbic::rl

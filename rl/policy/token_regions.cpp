#include "rl/policy/token_regions.h"

#include <algorithm>

#include "rewards/text.h"

namespace limbic::rl {

std::vector<bool> tokens_in_region(const data::Tokenizer& tokenizer,
                                   std::span<const std::int32_t> ids, const std::string& tag) {
  data::StreamDecoder decoder(tokenizer, false);
  std::string text;
  std::vector<std::size_t> ends;  // of the text that is certain after each token
  for (const std::int32_t id : ids) {
    text += decoder.push(id);
    ends.push_back(text.size());
  }
  text += decoder.finish();
  const auto found = rewards::Region({tag}).find(text);
  if (!found) return {};
  const auto begin = static_cast<std::size_t>(found->data() - text.data());
  const std::size_t end = begin + found->size();
  std::vector<bool> inside;
  std::size_t from = 0;
  for (const std::size_t to : ends) {
    // A part of a character shows nothing by itself; it belongs where the character begins.
    inside.push_back(from == to ? from >= begin && from < end : to > begin && from < end);
    from = to;
  }
  if (std::find(inside.begin(), inside.end(), true) == inside.end()) return {};
  return inside;
}

}  // namespace limbic::rl

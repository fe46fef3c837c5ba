#include "data/tokenizer/added_tokens.h"

#include <algorithm>

#include "data/tokenizer/unicode/characters.h"
#include "data/tokenizer/utf8.h"

namespace limbic::data {
namespace {

char32_t character_before(std::string_view text, std::size_t end, std::size_t& start) {
  start = previous_character(text, end);
  std::size_t read = start;
  return next_code_point(text, read);
}

bool stands_alone(std::string_view text, std::size_t begin, std::size_t end) {
  std::size_t place = 0;
  if (begin > 0 && is_word_character(character_before(text, begin, place))) return false;
  place = end;
  return end == text.size() || !is_word_character(next_code_point(text, place));
}

}  // namespace

void AddedTokenMatcher::add(const AddedToken& token, std::string_view spelling) {
  if (spelling.empty()) return;
  std::uint32_t node = 0;
  for (const char c : spelling) {
    auto& next = nodes_[node].next;
    const auto found =
        std::find_if(next.begin(), next.end(), [c](const auto& edge) { return edge.first == c; });
    if (found != next.end()) {
      node = found->second;
      continue;
    }
    const auto fresh = static_cast<std::uint32_t>(nodes_.size());
    next.emplace_back(c, fresh);
    nodes_.emplace_back();
    node = fresh;
  }
  if (nodes_[node].token >= 0) return;  // the first of two equal spellings counts
  nodes_[node].token = static_cast<std::int32_t>(tokens_.size());
  tokens_.push_back(token);
  lengths_.push_back(static_cast<std::uint32_t>(spelling.size()));
  starts_[static_cast<unsigned char>(spelling[0])] = true;
}

std::int32_t AddedTokenMatcher::longest(std::string_view text, std::size_t at) const {
  std::int32_t best = -1;
  const Node* node = &nodes_[0];
  for (std::size_t i = at; i < text.size(); ++i) {
    const char c = text[i];
    const auto found = std::find_if(node->next.begin(), node->next.end(),
                                    [c](const auto& edge) { return edge.first == c; });
    if (found == node->next.end()) break;
    node = &nodes_[found->second];
    if (node->token >= 0) best = node->token;
  }
  return best;
}

void AddedTokenMatcher::split(std::string_view text, std::vector<AddedTokenSplit>& out) const {
  out.clear();
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size() && !tokens_.empty();) {
    const std::int32_t index =
        starts_[static_cast<unsigned char>(text[at])] ? longest(text, at) : -1;
    if (index < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<std::size_t>(index)];
    std::size_t begin = at;
    std::size_t end = at + lengths_[static_cast<std::size_t>(index)];
    at = end;
    if (token.single_word && !stands_alone(text, begin, end)) continue;
    std::size_t place = 0;
    while (token.lstrip && begin > done && is_white_space(character_before(text, begin, place))) {
      begin = place;
    }
    while (token.rstrip && end < text.size()) {
      place = end;
      if (!is_white_space(next_code_point(text, place))) break;
      end = place;
    }
    if (done < begin) out.push_back({done, begin, AddedTokenSplit::kText});
    out.push_back({begin, end, token.id});
    done = end;
  }
  if (done < text.size()) out.push_back({done, text.size(), AddedTokenSplit::kText});
}

}  // namespace limbic::data

#include "data/packing.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <map>
#include <numeric>

#include "trainer/base/error.h"

namespace limbic::data {
namespace {

void pack_window(std::span<const std::int64_t> lengths, std::int64_t first, std::int64_t max_tokens,
                 Groups& groups) {
  std::vector<std::size_t> order(lengths.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return lengths[a] > lengths[b]; });

  std::map<std::int64_t, std::deque<std::size_t>> open;  // room left: groups, oldest first
  for (const std::size_t item : order) {
    const std::int64_t length = lengths[item];
    check(length >= 1 && length <= max_tokens, "a packed document has 1 to max_tokens tokens");
    std::size_t group = groups.size();
    std::int64_t room = max_tokens;
    if (const auto best = open.lower_bound(length); best != open.end()) {
      room = best->first;
      group = best->second.front();
      best->second.pop_front();
      if (best->second.empty()) open.erase(best);
    } else {
      groups.emplace_back();
    }
    groups[group].push_back(first + static_cast<std::int64_t>(item));
    if (room > length) open[room - length].push_back(group);
  }
}

}  // namespace

Groups best_fit_decreasing(std::span<const std::int64_t> lengths, std::int64_t max_tokens,
                           std::int64_t window) {
  check(window >= 1, "a packing window holds at least one document");
  Groups groups;
  const auto count = static_cast<std::int64_t>(lengths.size());
  for (std::int64_t first = 0; first < count; first += window) {
    const std::int64_t size = std::min(window, count - first);
    pack_window(lengths.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(size)),
                first, max_tokens, groups);
  }
  return groups;
}

Groups split_by_tokens(std::span<const std::int64_t> lengths, std::int64_t max_tokens,
                       std::int64_t max_rows) {
  check(max_tokens >= 0 && max_rows >= 0, "limits of a micro-batch are not negative");
  Groups groups;
  std::int64_t tokens = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    if (max_tokens > 0 && lengths[i] > max_tokens) {
      throw ConfigError(
          fmt::format("max_tokens_per_batch: got {} and a row of {} tokens, want room for it",
                      max_tokens, lengths[i]));
    }
    const bool full_tokens = max_tokens > 0 && tokens + lengths[i] > max_tokens;
    const bool full_rows = max_rows > 0 && !groups.empty() && std::ssize(groups.back()) >= max_rows;
    if (groups.empty() || full_tokens || full_rows) {
      groups.emplace_back();
      tokens = 0;
    }
    groups.back().push_back(static_cast<std::int64_t>(i));
    tokens += lengths[i];
  }
  return groups;
}

}  // namespace limbic::data

// Which documents share a sequence. Pure: lengths in, groups of indices out.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace limbic::data {

using Groups = std::vector<std::vector<std::int64_t>>;

// Documents that best-fit decreasing looks at together in TRL (a `datasets.map` batch).
inline constexpr std::int64_t kPackingWindow = 1000;

// Best-fit decreasing, as TRL's `packing_strategy="bfd"`: in windows of `window` documents, longest
// first (equal ones in order), each into the group with the least room that is enough (among equals
// the one that came to that room first), else into a new group. Groups stand in order of creation.
// Source: arXiv:2404.10830.
//
// lengths  [documents]  tokens, each between 1 and max_tokens
// Requires: window >= 1.
Groups best_fit_decreasing(std::span<const std::int64_t> lengths, std::int64_t max_tokens,
                           std::int64_t window = kPackingWindow);

// Micro-batches in the order of the documents: a group is closed when the next document would bring
// it over max_tokens or max_rows (0: no such limit).
// Throws ConfigError when one document alone is longer than max_tokens.
Groups split_by_tokens(std::span<const std::int64_t> lengths, std::int64_t max_tokens,
                       std::int64_t max_rows = 0);

}  // namespace limbic::data

// What the model trains on: documents as token ids with a mask of targets, and several of them
// packed one behind the other without padding. Masks and lengths are carried, never derived from
// token values.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace limbic::data {

// One document.
struct Example {
  std::vector<std::int32_t> ids;
  std::vector<std::uint8_t> loss_mask;  // [ids] 1: this token is a target; never the first
  std::int64_t row = 0;                 // index in the data it came from
};

// A document and others that continue it: several completions of one prompt, which is stored once.
struct Family {
  Example first;
  std::vector<Example>
      rest;  // their first token may be a target, predicted from the end of `first`
};

// Documents that do not see each other, in one sequence.
struct PackedBatch {
  std::vector<std::int32_t> tokens;  // [tokens]
  // [tokens] from 0 in every document, or from where it continues another
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> offsets;  // [documents + 1] begin of each, then the end
  // [families + 1] first document of each; empty: every document is a family of its own
  std::vector<std::int64_t> families;
  // [tokens] 1: the token is a target, predicted from the one before it; 0 on first tokens.
  std::vector<std::uint8_t> loss_mask;
  std::vector<float> weights;    // [tokens] factor of the target's loss (advantage, class weight);
                                 // empty: 1 everywhere
  std::int64_t loss_tokens = 0;  // ones in loss_mask

  std::int64_t documents() const {
    return offsets.empty() ? 0 : static_cast<std::int64_t>(offsets.size()) - 1;
  }
};

// In the order given, without weights. Requires: no empty example, masks as long as their ids, the
// first token never a target.
PackedBatch concat(std::span<const Example> examples);
// The same for families; a family's documents lie one behind the other.
PackedBatch concat_families(std::span<const Family> families);

}  // namespace limbic::data

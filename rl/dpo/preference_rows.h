// Rows with a preferred and a rejected reply -> token ids, all before the first step.
#pragma once

#include <cstdint>
#include <vector>

#include "data/batch.h"
#include "data/dataset.h"
#include "trainer/engine/encode_rows.h"
#include "trainer/engine/stage.h"

namespace limbic::rl {

// A pair as a family: what both conversations begin with is stored once, then the rest of the
// chosen one and that of the rejected one. The targets are the assistant's turns of the replies.
struct PreferencePair {
  data::Family family;  // rest: chosen, rejected
  std::int64_t chosen_targets = 0;
  std::int64_t rejected_targets = 0;

  std::int64_t tokens() const;
};

// The prompt is that of data/messages.h, answered by the columns `chosen` and `rejected`: a string,
// a list of messages, or the whole conversation, prompt included. Dropped rows are missing. Throws
// DataError `FILE:LINE: ...`: a column is missing or no reply, a pair is too long, plain text.
std::vector<PreferencePair> encode_pairs(const engine::RunContext& context,
                                         const data::Mixture& rows, engine::LengthRule rule);

}  // namespace limbic::rl

// How likely a model finds given continuations of a prompt: the prompt runs once, its continuations
// share it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "trainer/model/decoder.h"

namespace limbic::generation {

struct Question {
  std::vector<std::int32_t> prompt;                      // not empty
  std::vector<std::vector<std::int32_t>> continuations;  // none empty, the same number in all
};

// Sum of the token log-probabilities of every continuation: [questions][continuations].
// `max_batch` limits the sequences that are decoded at a time. Throws DataError when a prompt and
// its longest continuation exceed the model's positions.
std::vector<std::vector<double>> score_continuations(const model::Decoder& decoder,
                                                     std::span<const Question> questions,
                                                     std::int64_t max_batch, bool use_adapter);

}  // namespace limbic::generation

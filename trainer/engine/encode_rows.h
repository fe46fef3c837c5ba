// Rows of data -> token ids, all before the first step, so that a row that cannot be used is found
// before time is spent. Every rank encodes every row: the order of steps depends on all lengths.
#pragma once

#include <cstdint>
#include <vector>

#include "data/batch.h"
#include "data/dataset.h"
#include "data/template/chat_encoder.h"
#include "trainer/engine/stage.h"
#include "trainer/engine/train_config.h"

namespace limbic::engine {

// The mixture of the datasets that a stage names. Throws ConfigError.
data::Mixture mixture_of(const RunContext& context, const std::vector<std::string>& names);

// What the template of a row may read besides its messages: `settings` (the model's), then the
// row's `chat_template_kwargs`, `tools` and `documents` (each also as JSON in a string, TRL's
// names). Throws DataError `FILE:LINE: ...`.
Json template_variables(const Json& settings, const data::Row& row);

// What a stage does with rows that do not fit; `limit` counts the tokens of the row.
struct LengthRule {
  std::int64_t limit = 0;
  Overlong overlong = Overlong::kError;
};

// What of a conversation is learned: the assistant's turns with their end-of-turn tokens, or (not
// assistant_only) every token but the first.
struct MaskRule {
  bool assistant_only = true;
  data::Turns turns = data::Turns::kAll;
};

// Documents with a loss mask. A `text` row: `encode_document` and an end-of-sequence token (not
// doubled), all targets but the first.
// Example::row is the index in the mixture; dropped rows are missing. Throws DataError
// `FILE:LINE: ...`: a row that cannot be encoded, is too long, has no target or, although only the
// assistant's turns are learned, nothing else.
std::vector<data::Example> encode_examples(const RunContext& context, const data::Mixture& rows,
                                           LengthRule rule, MaskRule mask);

// A prompt to be answered.
struct PromptRow {
  std::int64_t row = 0;  // index in the mixture
  Json messages;         // a list, or a string for plain text
  std::vector<std::int32_t> ids;
};
enum class PromptUse { kAnswer, kLearn };  // whether replies are learned
// With the generation prompt; never truncated to nothing. Throws as above, and for prompts behind
// which something is learned when the template is not prefix-preserving.
std::vector<PromptRow> encode_prompts(const RunContext& context, const data::Mixture& rows,
                                      LengthRule rule, PromptUse use = PromptUse::kAnswer);

}  // namespace limbic::engine

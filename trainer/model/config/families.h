// What each model family means by its config.json: the switches of `ModelConfig`, and the values
// that transformers takes where the file says nothing.
#pragma once

#include "trainer/model/config/json_reader.h"
#include "trainer/model/model_config.h"

namespace limbic::model {

// Fills everything of `out` but `raw`, `architecture` and the token ids. Throws DataError: an
// architecture, rope, activation or layer type that limbic does not have (named), sizes that do not
// fit each other.
void read_family(const JsonReader& config, ModelConfig& out);

}  // namespace limbic::model

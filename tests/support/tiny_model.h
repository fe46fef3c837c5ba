// Small random models for tests, built in memory.
#pragma once

#include <cstdint>

#include "trainer/model/decoder.h"
#include "trainer/model/weights.h"

namespace limbic::model {

// A Llama of odd sizes: 3 query heads per key head, 2 layers, 61 tokens. Weights are ten times
// larger than usual so that its distributions are far from flat.
Json tiny_config();

Decoder tiny_model(WeightUse use = WeightUse::kFrozen, at::ScalarType type = at::kFloat,
                   const Json& config = tiny_config(), std::uint64_t seed = 5);

}  // namespace limbic::model

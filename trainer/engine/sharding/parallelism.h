// How training is spread over the ranks.
#pragma once

#include <cstdint>

namespace limbic::engine {

struct Parallelism {
  // 0: every rank keeps everything. Each rank keeps its share of 1: the moments, 2: and the
  // gradients, 3: and the weights. Source: arXiv:1910.02054.
  std::int64_t zero_stage = 1;
  std::int64_t shard_ranks = 0;  // a copy of everything is shared by so many ranks; 0 = by all
  std::int64_t bucket_bytes = 25'000'000;  // gradients travel in pieces of at most this size
  bool overlap = true;                     // gradients and weights travel while others compute
  bool half_wire = false;                  // gradients as bfloat16; added in float32
};

}  // namespace limbic::engine

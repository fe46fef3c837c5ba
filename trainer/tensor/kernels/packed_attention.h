// Private to kernels.cpp: causal attention for training, forward and backward, in float32 whatever
// the activations are. Made for sequences of some hundred tokens, where a library's matrix products
// cost more to call than to compute.
#pragma once

#include "trainer/tensor/kernels/product.h"

namespace limbic::kernels {
namespace {

constexpr std::int64_t kQueryBlock = 24;  // rows that share a sweep over the keys

// The float copies of one kv head of a family that its queries read, and what they add up.
inline std::int64_t attention_scratch(std::int64_t first, std::int64_t rest, std::int64_t dim) {
  const std::int64_t wide = padded(first + rest);
  const std::int64_t deep = padded(dim);
  return 6 * wide * deep + 3 * kQueryBlock * deep + 2 * kQueryBlock * wide;
}
struct HeadMemory {
  HeadMemory(float* scratch, std::int64_t tokens, std::int64_t dim)
      : wide(padded(tokens)), deep(padded(dim)) {
    const auto take = [&](std::int64_t count) {
      float* part = scratch;
      scratch += count;
      return part;
    };
    keys = take(wide * deep);
    keys_t = take(wide * deep);
    values = take(wide * deep);
    values_t = take(wide * deep);
    grad_keys = take(wide * deep);
    grad_values = take(wide * deep);
    query = take(kQueryBlock * deep);
    grad = take(kQueryBlock * deep);
    out = take(kQueryBlock * deep);
    scores = take(kQueryBlock * wide);
    grad_scores = take(kQueryBlock * wide);
  }
  std::int64_t wide;                         // tokens, padded: columns of the transposed copies
  std::int64_t deep;                         // head_dim, padded; the rest of a row is 0
  float *keys, *keys_t, *values, *values_t;  // [tokens][deep], [dim][wide]
  float *grad_keys, *grad_values;            // [tokens][deep]
  float *query, *grad, *out, *scores, *grad_scores;  // [kQueryBlock][deep] or [wide]
};

// Rows of `dim` values into rows of `deep`, the rest 0.
template <class X>
inline void copy_rows(const X* from, std::int64_t from_row, std::int64_t rows, std::int64_t dim,
                      std::int64_t deep, float* to) {
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t d = 0; d < dim; ++d) to[i * deep + d] = load(from + i * from_row + d);
    for (std::int64_t d = dim; d < deep; ++d) to[i * deep + d] = 0.0f;
  }
}

inline void transpose(const float* from, std::int64_t rows, std::int64_t dim, std::int64_t deep,
                      float* to, std::int64_t to_row) {
  for (std::int64_t d = 0; d < dim; ++d) {
    for (std::int64_t i = 0; i < rows; ++i) to[d * to_row + i] = from[i * deep + d];
  }
}

// One sequence as its queries see it: `before` tokens of the family's first sequence, then its own.
struct Sight {
  std::int64_t first;   // token of the batch
  std::int64_t length;  // own tokens
  std::int64_t before;
};

// Memory rows [at, at + count) := keys and values of tokens [first, first + count).
template <class X>
inline void load_head(const PackedAttention<X>& job, std::int64_t kv, std::int64_t first,
                      std::int64_t count, std::int64_t at, HeadMemory& memory) {
  const std::int64_t dim = job.head_dim;
  const std::int64_t k_row = job.kv_heads * dim;
  copy_rows(job.k + first * k_row + kv * dim, k_row, count, dim, memory.deep,
            memory.keys + at * memory.deep);
  copy_rows(job.v + first * job.v_stride + kv * dim, job.v_stride, count, dim, memory.deep,
            memory.values + at * memory.deep);
  transpose(memory.keys + at * memory.deep, count, dim, memory.deep, memory.keys_t + at,
            memory.wide);
}

// The keys of a query, as columns of the family.
struct Columns {
  std::int64_t begin, end;
};
template <class X>
inline Columns visible_to(const PackedAttention<X>& job, const Sight& sight, std::int64_t row) {
  const std::int64_t end = sight.before + row + 1;
  return {job.window > 0 && end > job.window ? end - job.window : 0, end};
}

// Scores of query rows [row, row + rows) of a sequence into memory.scores, unmasked. Returns the
// columns that hold any: those of the keys that some of the rows see, begun at a whole register.
template <class X>
inline Columns score_block(const PackedAttention<X>& job, const Sight& sight, std::int64_t head,
                           std::int64_t row, std::int64_t rows, HeadMemory& memory) {
  const std::int64_t dim = job.head_dim;
  const std::int64_t q_row = job.heads * dim;
  copy_rows(job.q + (sight.first + row) * q_row + head * dim, q_row, rows, dim, memory.deep,
            memory.query);
  const std::int64_t begin = visible_to(job, sight, row).begin / kAlign * kAlign;
  const std::int64_t end = sight.before + row + rows;
  product(memory.query, memory.deep, 1, memory.keys_t + begin, memory.wide, memory.scores + begin,
          memory.wide, rows, padded(end) - begin, dim, false);
  return {begin, end};
}

// scores := cap tanh(scale scores / cap)
inline void cap_scores(float* scores, std::int64_t count, float scale, float cap) {
  in_lanes(
      count, [&](std::int64_t j, std::int64_t part) __attribute__((always_inline)) {
        store(scores + j, cap * fast_tanh(load(scores + j, part) * (scale / cap)), part);
      });
}

// Hides the columns before a row's own, and caps what it sees. Returns what the scores are still to
// be multiplied with.
template <class X>
inline float mask_and_cap(const PackedAttention<X>& job, const Columns& block, const Columns& seen,
                          float* scores) {
  for (std::int64_t j = block.begin; j < seen.begin; ++j) scores[j] = 0.0f;
  if (job.softcap == 0.0f) return job.scale;
  cap_scores(scores + seen.begin, seen.end - seen.begin, job.scale, job.softcap);
  return 1.0f;
}

// scores := exp(scale * scores - shift) over the visible columns, 0 behind; returns their sum.
inline float weights_of(float* scores, std::int64_t visible, std::int64_t columns, float scale,
                        float shift) {
  Floats sum = {};
  in_lanes(
      visible, [&](std::int64_t j, std::int64_t part) __attribute__((always_inline)) {
        Floats x = load(scores + j, part) * scale - shift;
        if (part < kLanes) x = first_lanes(x, part, -88.0f);
        const Floats e = fast_exp(x);
        store(scores + j, e, part);
        sum += e;
      });
  for (std::int64_t j = visible; j < columns; ++j) scores[j] = 0.0f;
  return sum_of(sum);
}

template <class X>
inline void attend(const PackedAttention<X>& job, const Sight& sight, std::int64_t head, X* out,
                   HeadMemory& memory) {
  const std::int64_t dim = job.head_dim;
  const std::int64_t deep = memory.deep;
  for (std::int64_t row = 0; row < sight.length; row += kQueryBlock) {
    const std::int64_t rows = row + kQueryBlock < sight.length ? kQueryBlock : sight.length - row;
    const Columns block = score_block(job, sight, head, row, rows, memory);
    for (std::int64_t r = 0; r < rows; ++r) {
      const Columns seen = visible_to(job, sight, row + r);
      const std::int64_t visible = seen.end - seen.begin;
      const float scale = mask_and_cap(job, block, seen, memory.scores + r * memory.wide);
      float* scores = memory.scores + r * memory.wide + seen.begin;
      const float shift = largest(scores, visible) * scale;
      const float sum = weights_of(scores, visible, padded(block.end) - seen.begin, scale, shift);
      const float inverse = 1.0f / sum;
      for (std::int64_t j = 0; j < visible; ++j) scores[j] *= inverse;
      job.log_sum[(sight.first + row + r) * job.heads + head] = shift + __builtin_logf(sum);
    }
    product(memory.scores + block.begin, memory.wide, 1, memory.values + block.begin * deep, deep,
            memory.out, deep, rows, deep, block.end - block.begin, false);
    for (std::int64_t r = 0; r < rows; ++r) {
      X* target = out + ((sight.first + row + r) * job.heads + head) * dim;
      for (std::int64_t d = 0; d < dim; ++d) store(target + d, memory.out[r * deep + d]);
    }
  }
}

// Row r of a block: its scores become weights, and the gradients of its weights those of its scores
// before scale and cap.
template <class X>
inline void score_gradient(const PackedAttention<X>& job, const Sight& sight, std::int64_t head,
                           std::int64_t row, std::int64_t r, const Columns& block,
                           HeadMemory& memory) {
  const Columns seen = visible_to(job, sight, row + r);
  float* scores = memory.scores + r * memory.wide;
  float* grad_scores = memory.grad_scores + r * memory.wide;
  float delta = 0.0f;
  for (std::int64_t d = 0; d < job.head_dim; ++d) {
    delta += memory.grad[r * memory.deep + d] * memory.out[r * memory.deep + d];
  }
  const float scale = mask_and_cap(job, block, seen, scores);
  const std::int64_t columns = padded(block.end);
  for (std::int64_t j = block.begin; j < columns; ++j) {
    grad_scores[j] = (grad_scores[j] - delta) * job.scale;
  }
  if (job.softcap > 0.0f) {
    const float inverse = 1.0f / job.softcap;
    for (std::int64_t j = seen.begin; j < seen.end; ++j) {
      const float bend = scores[j] * inverse;
      grad_scores[j] *= 1.0f - bend * bend;
    }
  }
  const std::int64_t token = sight.first + row + r;
  weights_of(scores + seen.begin, seen.end - seen.begin, columns - seen.begin, scale,
             job.log_sum[token * job.heads + head]);
  for (std::int64_t j = block.begin; j < columns; ++j) grad_scores[j] *= scores[j];
}

template <class X>
inline void attend_backward(const PackedAttention<X>& job, const PackedAttentionGradient<X>& g,
                            const Sight& sight, std::int64_t head, HeadMemory& memory) {
  const std::int64_t dim = job.head_dim;
  const std::int64_t deep = memory.deep;
  const std::int64_t row_size = job.heads * dim;
  for (std::int64_t row = 0; row < sight.length; row += kQueryBlock) {
    const std::int64_t rows = row + kQueryBlock < sight.length ? kQueryBlock : sight.length - row;
    const Columns block = score_block(job, sight, head, row, rows, memory);
    const std::int64_t width = block.end - block.begin;
    const std::int64_t at = (sight.first + row) * row_size + head * dim;
    copy_rows(g.grad_out + at, row_size, rows, dim, deep, memory.grad);
    copy_rows(g.out + at, row_size, rows, dim, deep, memory.out);
    product(memory.grad, deep, 1, memory.values_t + block.begin, memory.wide,
            memory.grad_scores + block.begin, memory.wide, rows, padded(block.end) - block.begin,
            dim, false);
    for (std::int64_t r = 0; r < rows; ++r) score_gradient(job, sight, head, row, r, block, memory);
    const float* scores = memory.scores + block.begin;
    const float* grad_scores = memory.grad_scores + block.begin;
    const std::int64_t skip = block.begin * deep;
    product(scores, 1, memory.wide, memory.grad, deep, memory.grad_values + skip, deep, width, deep,
            rows, true);
    product(grad_scores, 1, memory.wide, memory.query, deep, memory.grad_keys + skip, deep, width,
            deep, rows, true);
    product(grad_scores, memory.wide, 1, memory.keys + skip, deep, memory.out, deep, rows, deep,
            width, false);
    for (std::int64_t r = 0; r < rows; ++r) {
      X* target = g.grad_q + at + r * row_size;
      for (std::int64_t d = 0; d < dim; ++d) store(target + d, memory.out[r * deep + d]);
    }
  }
}

template <class X>
inline void store_gradients(const PackedAttention<X>& job, const PackedAttentionGradient<X>& g,
                            std::int64_t kv, std::int64_t first, std::int64_t count,
                            std::int64_t at, const HeadMemory& memory) {
  const std::int64_t dim = job.head_dim;
  for (std::int64_t i = 0; i < count; ++i) {
    X* keys = g.grad_k + ((first + i) * job.kv_heads + kv) * dim;
    X* values = g.grad_v + (first + i) * g.grad_v_stride + kv * dim;
    for (std::int64_t d = 0; d < dim; ++d) {
      store(keys + d, memory.grad_keys[(at + i) * memory.deep + d]);
      store(values + d, memory.grad_values[(at + i) * memory.deep + d]);
    }
  }
}

template <class X>
inline std::int64_t family_tokens(const PackedAttention<X>& job, std::int64_t family) {
  const std::int64_t* offsets = job.offsets + job.families[family];
  const std::int64_t sequences = job.families[family + 1] - job.families[family];
  std::int64_t rest = 0;
  for (std::int64_t s = 1; s < sequences; ++s) {
    const std::int64_t length = offsets[s + 1] - offsets[s];
    rest = length > rest ? length : rest;
  }
  return offsets[1] - offsets[0] + rest;
}

// visit(sight, is_first) for every sequence of a family, with keys and values in memory.
template <class X, class Visit>
inline void over_family(const PackedAttention<X>& job, std::int64_t family, std::int64_t kv,
                        HeadMemory& memory, Visit visit) {
  const std::int64_t begin = job.families[family];
  const std::int64_t first_length = job.offsets[begin + 1] - job.offsets[begin];
  for (std::int64_t s = begin; s < job.families[family + 1]; ++s) {
    const std::int64_t before = s == begin ? 0 : first_length;
    const Sight sight{job.offsets[s], job.offsets[s + 1] - job.offsets[s], before};
    load_head(job, kv, sight.first, sight.length, before, memory);
    visit(sight);
  }
}

template <class X>
void packed_attention(const PackedAttention<X>& job, X* out, float* scratch, std::int64_t begin,
                      std::int64_t end) {
  const std::int64_t group = job.heads / job.kv_heads;
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t family = task / job.kv_heads;
    const std::int64_t kv = task % job.kv_heads;
    HeadMemory memory(scratch, family_tokens(job, family), job.head_dim);
    over_family(job, family, kv, memory, [&](const Sight& sight) {
      for (std::int64_t h = 0; h < group; ++h) attend(job, sight, kv * group + h, out, memory);
    });
  }
}

template <class X>
void packed_attention_backward(const PackedAttention<X>& job,
                               const PackedAttentionGradient<X>& gradient, float* scratch,
                               std::int64_t begin, std::int64_t end) {
  const std::int64_t group = job.heads / job.kv_heads;
  const std::int64_t dim = job.head_dim;
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t family = task / job.kv_heads;
    const std::int64_t kv = task % job.kv_heads;
    const std::int64_t tokens = family_tokens(job, family);
    HeadMemory memory(scratch, tokens, dim);
    const std::int64_t first = job.families[family];
    const std::int64_t first_length = job.offsets[first + 1] - job.offsets[first];
    for (std::int64_t i = 0; i < first_length * memory.deep; ++i) {
      memory.grad_keys[i] = 0.0f;
      memory.grad_values[i] = 0.0f;
    }
    over_family(job, family, kv, memory, [&](const Sight& sight) {
      transpose(memory.values + sight.before * memory.deep, sight.length, dim, memory.deep,
                memory.values_t + sight.before, memory.wide);
      const std::int64_t own = sight.before * memory.deep;
      for (std::int64_t i = 0; sight.before > 0 && i < sight.length * memory.deep; ++i) {
        memory.grad_keys[own + i] = 0.0f;
        memory.grad_values[own + i] = 0.0f;
      }
      for (std::int64_t h = 0; h < group; ++h) {
        attend_backward(job, gradient, sight, kv * group + h, memory);
      }
      if (sight.before > 0) {
        store_gradients(job, gradient, kv, sight.first, sight.length, sight.before, memory);
      }
    });
    store_gradients(job, gradient, kv, job.offsets[first], first_length, 0, memory);
  }
}

}  // namespace
}  // namespace limbic::kernels

// Compiled three times; LIMBIC_KERNEL_SET names the instruction set and the exported table.
// Includes no header with inline functions of others, so that no AVX code leaks into the rest of
// the program.
#include "trainer/tensor/kernels/kernels.h"

#include "trainer/tensor/kernels/few_rows.h"
#include "trainer/tensor/kernels/lanes.h"
#include "trainer/tensor/kernels/packed_attention.h"

namespace limbic::kernels {
namespace {

// Sums over a vocabulary are float within blocks of this size and double across them: one float sum
// over 262,144 entries drifts by 3e-4.
constexpr std::int64_t kSumBlock = 256;

template <class X>
void add_rms_norm(const float* h, const X* delta, const float* weight, float eps, float* h_out,
                  X* y, float* rstd, std::int64_t begin, std::int64_t end, std::int64_t width) {
  for (std::int64_t row = begin; row < end; ++row) {
    const float* in = h + row * width;
    float* out = h_out + row * width;
    if (delta != nullptr) {
      const X* add = delta + row * width;
      for (std::int64_t i = 0; i < width; ++i) out[i] = in[i] + load(add + i);
    } else if (out != in) {
      for (std::int64_t i = 0; i < width; ++i) out[i] = in[i];
    }
    float sum = 0.0f;
    for (std::int64_t i = 0; i < width; ++i) sum += out[i] * out[i];
    const float scale = 1.0f / __builtin_sqrtf(sum / static_cast<float>(width) + eps);
    rstd[row] = scale;
    X* target = y + row * width;
    for (std::int64_t i = 0; i < width; ++i) store(target + i, out[i] * scale * weight[i]);
  }
}

template <class X>
void rms_norm_backward(const float* grad_h, const X* grad_y, const float* x, const float* rstd,
                       const float* weight, float* grad_x, X* grad_delta, float* grad_weight,
                       std::int64_t begin, std::int64_t end, std::int64_t width) {
  for (std::int64_t row = begin; row < end; ++row) {
    const std::int64_t at = row * width;
    const float scale = rstd[row];
    float dot = 0.0f;
    for (std::int64_t i = 0; i < width; ++i) dot += load(grad_y + at + i) * weight[i] * x[at + i];
    const float mean = dot * scale * scale * scale / static_cast<float>(width);
    for (std::int64_t i = 0; i < width; ++i) {
      grad_x[at + i] = load(grad_y + at + i) * weight[i] * scale - x[at + i] * mean;
    }
    if (grad_h != nullptr) {
      for (std::int64_t i = 0; i < width; ++i) grad_x[at + i] += grad_h[at + i];
    }
    if (grad_delta != nullptr) {
      for (std::int64_t i = 0; i < width; ++i) store(grad_delta + at + i, grad_x[at + i]);
    }
    if (grad_weight != nullptr) {
      for (std::int64_t i = 0; i < width; ++i) {
        grad_weight[i] += load(grad_y + at + i) * x[at + i] * scale;
      }
    }
  }
}

// A gate: its value and slope at g.
struct Silu {
  static inline Floats value(Floats g) { return g / (1.0f + fast_exp(-g)); }
  static inline void both(Floats g, Floats& value, Floats& slope) {
    const Floats sigmoid = 1.0f / (1.0f + fast_exp(-g));
    value = g * sigmoid;
    slope = sigmoid * (1.0f + g * (1.0f - sigmoid));
  }
};

// g (1 + tanh(sqrt(2 / pi) (g + 0.044715 g^3))) / 2
struct GeluTanh {
  static constexpr float kRoot = 0.7978845608f;
  static constexpr float kCube = 0.044715f;
  static inline Floats bend(Floats g) { return fast_tanh(kRoot * (g + kCube * g * g * g)); }
  static inline Floats value(Floats g) { return 0.5f * g * (1.0f + bend(g)); }
  static inline void both(Floats g, Floats& value, Floats& slope) {
    const Floats t = bend(g);
    value = 0.5f * g * (1.0f + t);
    slope = 0.5f * (1.0f + t) + 0.5f * g * (1.0f - t * t) * kRoot * (1.0f + 3.0f * kCube * g * g);
  }
};

template <class Gate, class X>
void gated(const X* gate_up, X* y, std::int64_t begin, std::int64_t end, std::int64_t inner) {
  for (std::int64_t row = begin; row < end; ++row) {
    const X* gate = gate_up + row * 2 * inner;
    const X* up = gate + inner;
    X* out = y + row * inner;
    in_lanes(
        inner, [&](std::int64_t i, std::int64_t count) __attribute__((always_inline)) {
          store(out + i, Gate::value(load(gate + i, count)) * load(up + i, count), count);
        });
  }
}

template <class Gate, class X>
void gated_backward(const X* grad_y, const X* gate_up, X* grad_gate_up, std::int64_t begin,
                    std::int64_t end, std::int64_t inner) {
  for (std::int64_t row = begin; row < end; ++row) {
    const X* gate = gate_up + row * 2 * inner;
    const X* up = gate + inner;
    X* grad_gate = grad_gate_up + row * 2 * inner;
    X* grad_up = grad_gate + inner;
    const X* grad = grad_y + row * inner;
    in_lanes(
        inner, [&](std::int64_t i, std::int64_t count) __attribute__((always_inline)) {
          const Floats gy = load(grad + i, count);
          Floats value, slope;
          Gate::both(load(gate + i, count), value, slope);
          store(grad_up + i, gy * value, count);
          store(grad_gate + i, gy * load(up + i, count) * slope, count);
        });
  }
}

constexpr std::int64_t kMaxHeadDim = 512;

template <class X>
void rotate(const HeadLayout& layout, const X* in, X* out, float* rstd, std::int64_t begin,
            std::int64_t end) {
  const std::int64_t half = layout.rotated / 2;
  float value[kMaxHeadDim];
  for (std::int64_t token = begin; token < end; ++token) {
    const float* cos = layout.cos + layout.positions[token] * half;
    const float* sin = layout.sin + layout.positions[token] * half;
    for (std::int64_t head = 0; head < layout.heads; ++head) {
      const X* source = in + token * layout.row_stride + head * layout.head_dim;
      X* target = out + (token * layout.heads + head) * layout.head_dim;
      for (std::int64_t i = 0; i < layout.head_dim; ++i) value[i] = load(source + i);
      if (layout.norm_weight != nullptr) {
        float sum = 0.0f;
        for (std::int64_t i = 0; i < layout.head_dim; ++i) sum += value[i] * value[i];
        const float scale =
            1.0f / __builtin_sqrtf(sum / static_cast<float>(layout.head_dim) + layout.eps);
        if (rstd != nullptr) rstd[token * layout.heads + head] = scale;
        for (std::int64_t i = 0; i < layout.head_dim; ++i) {
          value[i] = value[i] * scale * layout.norm_weight[i];
        }
      }
      for (std::int64_t i = 0; i < half; ++i) {
        store(target + i, value[i] * cos[i] - value[i + half] * sin[i]);
        store(target + i + half, value[i + half] * cos[i] + value[i] * sin[i]);
      }
      for (std::int64_t i = layout.rotated; i < layout.head_dim; ++i) store(target + i, value[i]);
    }
  }
}

template <class X>
void rotate_backward(const HeadLayout& layout, const X* grad_out, const X* in, const float* rstd,
                     X* grad_in, float* grad_norm, std::int64_t begin, std::int64_t end) {
  const std::int64_t dim = layout.head_dim;
  const std::int64_t half = layout.rotated / 2;
  float value[kMaxHeadDim];
  for (std::int64_t token = begin; token < end; ++token) {
    const float* cos = layout.cos + layout.positions[token] * half;
    const float* sin = layout.sin + layout.positions[token] * half;
    for (std::int64_t head = 0; head < layout.heads; ++head) {
      const X* grad = grad_out + (token * layout.heads + head) * dim;
      const X* source = in + token * layout.row_stride + head * dim;
      X* target = grad_in + token * layout.row_stride + head * dim;
      for (std::int64_t i = 0; i < half; ++i) {
        const float low = load(grad + i);
        const float high = load(grad + i + half);
        value[i] = low * cos[i] + high * sin[i];
        value[i + half] = high * cos[i] - low * sin[i];
      }
      for (std::int64_t i = layout.rotated; i < dim; ++i) value[i] = load(grad + i);
      if (layout.norm_weight != nullptr) {
        const float scale = rstd[token * layout.heads + head];
        float dot = 0.0f;
        for (std::int64_t i = 0; i < dim; ++i) {
          dot += value[i] * layout.norm_weight[i] * load(source + i);
        }
        const float mean = dot * scale * scale * scale / static_cast<float>(dim);
        for (std::int64_t i = 0; i < dim; ++i) {
          const float x = load(source + i);
          if (grad_norm != nullptr) grad_norm[i] += value[i] * x * scale;
          value[i] = value[i] * layout.norm_weight[i] * scale - x * mean;
        }
      }
      for (std::int64_t i = 0; i < dim; ++i) store(target + i, value[i]);
    }
  }
}

inline void softmax_row(float* row, std::int64_t count) {
  const float top = largest(row, count);
  in_lanes(
      count, [&](std::int64_t j, std::int64_t part) __attribute__((always_inline)) {
        store(row + j, fast_exp(load(row + j, part) - top), part);
      });
  float sum = 0.0f;
  for (std::int64_t j = 0; j < count; ++j) sum += row[j];
  const float inverse = 1.0f / sum;
  for (std::int64_t j = 0; j < count; ++j) row[j] *= inverse;
}

template <class X>
void decode_attention(const DecodeAttention<X>& job, float* scratch, std::int64_t begin,
                      std::int64_t end) {
  const std::int64_t queries = job.heads / job.kv_heads;
  const std::int64_t dim = job.head_dim;
  const std::int64_t stride = job.kv_heads * dim;
  float* q = scratch;
  float* out = q + queries * dim;
  float* scores = out + queries * dim;
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t row = task / job.kv_heads;
    const std::int64_t kv = task % job.kv_heads;
    const std::int64_t prompt = job.prompt_length[row];
    const std::int64_t own = job.own_length[row];
    const std::int64_t length = prompt + own;
    const std::int64_t wide = padded(length) + kAlign;
    const X* source = job.q + row * job.q_stride + kv * queries * dim;
    for (std::int64_t i = 0; i < queries * dim; ++i) q[i] = load(source + i) * job.scale;
    const std::int64_t first = job.window > 0 && length > job.window ? length - job.window : 0;
    const std::int64_t first_own = first > prompt ? first - prompt : 0;
    // Padded columns of the prompt's keys hold anything; the scores of the own keys replace them.
    const std::int64_t prompt_wide = padded(prompt);
    const std::int64_t own_wide = padded(job.capacity);
    const X* prompt_k = job.prompt_k + job.prompt_k_begin[row] + kv * dim * prompt_wide;
    const X* own_k = job.own_k + (job.own_slot[row] * job.kv_heads + kv) * dim * own_wide;
    const std::int64_t from = first < prompt ? first / kAlign * kAlign : prompt_wide;
    const std::int64_t from_own = first_own / kAlign * kAlign;
    product(q, dim, 1, prompt_k + from, prompt_wide, scores + from, wide, queries,
            prompt_wide - from, dim, false);
    product(q, dim, 1, own_k + from_own, own_wide, scores + prompt + from_own, wide, queries,
            padded(own) - from_own, dim, false);
    for (std::int64_t g = 0; g < queries; ++g) {
      float* seen = scores + g * wide + first;
      if (job.softcap > 0.0f) cap_scores(seen, length - first, 1.0f, job.softcap);
      softmax_row(seen, length - first);
    }
    const X* prompt_v = job.prompt_v + job.prompt_begin[row] * stride + kv * dim;
    const X* own_v = job.own_v + job.own_slot[row] * job.capacity * stride + kv * dim;
    const std::int64_t skip = first - first_own;
    product(scores + skip, wide, 1, prompt_v + skip * stride, stride, out, dim, queries, dim,
            prompt - skip, false);
    product(scores + prompt + first_own, wide, 1, own_v + first_own * stride, stride, out, dim,
            queries, dim, own - first_own, true);
    X* target = job.out + row * job.out_stride + kv * queries * dim;
    for (std::int64_t i = 0; i < queries * dim; ++i) store(target + i, out[i]);
  }
}

std::int64_t key_columns(std::int64_t tokens) { return padded(tokens); }

std::int64_t decode_scratch(std::int64_t queries, std::int64_t longest, std::int64_t head_dim) {
  return queries * (2 * head_dim + padded(longest) + kAlign) + kAlign;
}

template <class X>
void row_stats(const X* logits, const std::int32_t* targets, RowStats* stats, std::int64_t begin,
               std::int64_t end, std::int64_t vocabulary) {
  for (std::int64_t row = begin; row < end; ++row) {
    const X* x = logits + row * vocabulary;
    const float top = largest(x, vocabulary);
    double sum = 0.0;
    double weighted = 0.0;
    for (std::int64_t from = 0; from < vocabulary; from += kSumBlock) {
      const std::int64_t size = from + kSumBlock < vocabulary ? kSumBlock : vocabulary - from;
      Floats block_sum = {};
      Floats block_weighted = {};
      in_lanes(
          size, [&](std::int64_t i, std::int64_t count) __attribute__((always_inline)) {
            Floats shifted = load(x + from + i, count) - top;
            if (count < kLanes) shifted = first_lanes(shifted, count, -88.0f);
            const Floats e = fast_exp(shifted);
            block_sum += e;
            block_weighted += e * shifted;
          });
      sum += sum_of(block_sum);
      weighted += sum_of(block_weighted);
    }
    std::int64_t argmax = 0;
    while (argmax + 1 < vocabulary && !(load(x + argmax) == top)) ++argmax;
    const float log_sum = __builtin_logf(static_cast<float>(sum));
    stats[row].log_sum_exp = top + log_sum;
    stats[row].target_logit = targets == nullptr ? top : load(x + targets[row]);
    stats[row].entropy = log_sum - static_cast<float>(weighted / sum);
    stats[row].argmax = static_cast<std::int32_t>(argmax);
  }
}

template <class X>
void log_prob_backward(X* logits, const std::int32_t* targets, const RowStats* stats,
                       const float* grad, std::int64_t begin, std::int64_t end,
                       std::int64_t vocabulary) {
  for (std::int64_t row = begin; row < end; ++row) {
    X* x = logits + row * vocabulary;
    const float lse = stats[row].log_sum_exp;
    const float g = grad[row];
    const std::int32_t target = targets[row];
    const float at_target = g * (1.0f - fast_exp(load(x + target) - lse));
    in_lanes(
        vocabulary, [&](std::int64_t i, std::int64_t count) __attribute__((always_inline)) {
          store(x + i, -g * fast_exp(load(x + i, count) - lse), count);
        });
    store(x + target, at_target);
  }
}

void adamw(const AdamwStep& step, float* weight, const float* gradient, float* first_moment,
           float* second_moment, std::int64_t begin, std::int64_t end) {
  const float decay = 1.0f - step.learning_rate * step.weight_decay;
  const float rate = step.learning_rate / step.bias_correction1;
  const float root = 1.0f / __builtin_sqrtf(step.bias_correction2);
  for (std::int64_t i = begin; i < end; ++i) {
    const float g = gradient[i] * step.gradient_scale;
    const float m = first_moment[i] + (g - first_moment[i]) * step.rest1;
    const float v = second_moment[i] * step.beta2 + g * g * step.rest2;
    first_moment[i] = m;
    second_moment[i] = v;
    weight[i] = weight[i] * decay - rate * m / (__builtin_sqrtf(v) * root + step.eps);
  }
}

double sum_of_squares(const float* values, std::int64_t begin, std::int64_t end) {
  double sum = 0.0;
  for (std::int64_t i = begin; i < end; ++i) {
    sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  }
  return sum;
}

double exp_shifted(const float* values, float shift, float inverse_temperature, float* out,
                   std::int64_t count) {
  double sum = 0.0;
  for (std::int64_t from = 0; from < count; from += kSumBlock) {
    const std::int64_t size = from + kSumBlock < count ? kSumBlock : count - from;
    Floats block = {};
    in_lanes(
        size, [&](std::int64_t i, std::int64_t part) __attribute__((always_inline)) {
          Floats shifted = (load(values + from + i, part) - shift) * inverse_temperature;
          if (part < kLanes) shifted = first_lanes(shifted, part, -88.0f);
          const Floats e = fast_exp(shifted);
          store(out + from + i, e, part);
          block += e;
        });
    sum += sum_of(block);
  }
  return sum;
}

template <class X>
constexpr ActivationKernels<X> table() {
  return {add_rms_norm<X>,     rms_norm_backward<X>,
          gated<Silu, X>,      gated_backward<Silu, X>,
          gated<GeluTanh, X>,  gated_backward<GeluTanh, X>,
          rotate<X>,           rotate_backward<X>,
          packed_attention<X>, packed_attention_backward<X>,
          decode_attention<X>, row_stats<X>,
          log_prob_backward<X>};
}

}  // namespace

#define LIMBIC_STRING_OF(x) #x
#define LIMBIC_STRING(x) LIMBIC_STRING_OF(x)
extern const Kernels LIMBIC_KERNEL_SET;
const Kernels LIMBIC_KERNEL_SET = {LIMBIC_STRING(LIMBIC_KERNEL_SET),
                                   attention_scratch,
                                   decode_scratch,
                                   key_columns,
                                   table<float>(),
                                   table<Bf16>(),
                                   adamw,
                                   few_rows_padded,
                                   turn_rows,
                                   few_rows_product,
                                   sum_of_squares,
                                   exp_shifted};

}  // namespace limbic::kernels

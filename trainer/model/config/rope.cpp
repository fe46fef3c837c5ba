#include "trainer/model/config/rope.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace limbic::model {
namespace {

constexpr std::pair<const char*, RopeConfig::Kind> kKinds[] = {
    {"default", RopeConfig::Kind::kDefault},   {"linear", RopeConfig::Kind::kLinear},
    {"dynamic", RopeConfig::Kind::kDynamic},   {"yarn", RopeConfig::Kind::kYarn},
    {"longrope", RopeConfig::Kind::kLongrope}, {"llama3", RopeConfig::Kind::kLlama3},
    {"su", RopeConfig::Kind::kLongrope}};

RopeConfig::Kind kind_of(const JsonReader& section) {
  const std::string name = section.text_or("rope_type", section.text_or("type", "default"));
  if (section.has("mrope_section")) {
    section.fail("mrope_section", "multimodal rope", "a rope of one position per token");
  }
  // The first Phi-3 files call longrope "su" or "yarn"; its factors tell.
  if (name == "yarn" && section.has("short_factor")) return RopeConfig::Kind::kLongrope;
  for (const auto& [known, kind] : kKinds) {
    if (name == known) return kind;
  }
  section.fail("rope_type", "'" + name + "'",
               "default, linear, dynamic, yarn, longrope or llama3; limbic has no other rope type");
}

void read_llama3(const JsonReader& section, RopeConfig& rope) {
  rope.factor = section.positive("factor");
  rope.low_freq_factor = section.positive("low_freq_factor");
  rope.high_freq_factor = section.positive("high_freq_factor");
  if (rope.high_freq_factor <= rope.low_freq_factor) {
    section.fail("high_freq_factor", fmt::format("{}", rope.high_freq_factor),
                 fmt::format("more than low_freq_factor {}", rope.low_freq_factor));
  }
}

// How much yarn sharpens the attention of a context stretched by `scale`.
double yarn_sharpness(double scale, double weight) {
  return scale <= 1.0 ? 1.0 : 0.1 * weight * std::log(scale) + 1.0;
}

void read_yarn(const JsonReader& section, double stretch, RopeConfig& rope) {
  rope.factor = section.positive_or("factor", stretch);
  rope.beta_fast = section.positive_or("beta_fast", 32.0);
  rope.beta_slow = section.positive_or("beta_slow", 1.0);
  rope.truncate = section.flag_or("truncate", true);
  const double all = section.number_or("mscale_all_dim", 0.0);
  const double some = section.number_or("mscale", 0.0);
  const double inferred = all != 0.0 && some != 0.0
                              ? yarn_sharpness(rope.factor, some) / yarn_sharpness(rope.factor, all)
                              : yarn_sharpness(rope.factor, 1.0);
  rope.attention_factor = section.positive_or("attention_factor", inferred);
}

void read_longrope(const JsonReader& section, double stretch, std::size_t count, RopeConfig& rope) {
  rope.factor = section.positive_or("factor", stretch);
  rope.short_factors = section.positives("short_factor", count);
  rope.long_factors = section.positives("long_factor", count);
  const double inferred =
      rope.factor <= 1.0
          ? 1.0
          : std::sqrt(1.0 + std::log(rope.factor) / std::log(rope.original_positions));
  rope.attention_factor = section.positive_or("attention_factor", inferred);
}

// Share of its frequency [pairs] float32 that each pair of dimensions keeps under yarn; 0 = fully
// stretched.
at::Tensor yarn_shares(const RopeConfig& rope, std::int64_t dimensions) {
  const auto width = static_cast<double>(dimensions);
  const auto dimension_of = [&](double rotations) {
    return width * std::log(rope.original_positions / (rotations * 2.0 * std::numbers::pi)) /
           (2.0 * std::log(rope.theta));
  };
  double low = dimension_of(rope.beta_fast);
  double high = dimension_of(rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, width - 1.0);
  if (low == high) high += 0.001;
  return 1.0 - ((at::arange(dimensions / 2, at::kFloat) - low) / (high - low)).clamp(0.0, 1.0);
}

at::Tensor llama3_frequencies(const RopeConfig& rope, const at::Tensor& frequencies) {
  const double longest = rope.original_positions / rope.low_freq_factor;
  const double shortest = rope.original_positions / rope.high_freq_factor;
  const at::Tensor lengths = 2.0 * std::numbers::pi / frequencies;
  const at::Tensor slow = at::where(lengths > longest, frequencies / rope.factor, frequencies);
  const at::Tensor share = (rope.original_positions / lengths - rope.low_freq_factor) /
                           (rope.high_freq_factor - rope.low_freq_factor);
  const at::Tensor between = (1.0 - share) * slow / rope.factor + share * slow;
  return at::where((lengths >= shortest).logical_and(lengths <= longest), between, slow);
}

// Of sequences of so many tokens each, lengths [n] float32 -> [n, pairs].
at::Tensor dynamic_frequencies(const RopeConfig& rope, std::int64_t dimensions,
                               const at::Tensor& lengths) {
  const auto width = static_cast<double>(dimensions);
  const at::Tensor stretched =
      rope.factor * lengths.clamp_min(rope.original_positions) / rope.original_positions -
      (rope.factor - 1.0);
  const at::Tensor base = rope.theta * stretched.pow(width / (width - 2.0));
  return 1.0 / at::pow(base.unsqueeze(1), at::arange(0, dimensions, 2, at::kFloat) / dimensions);
}

at::Tensor frequencies_of(const RopeConfig& rope, std::int64_t dimensions, std::int64_t length) {
  using Kind = RopeConfig::Kind;
  const at::Tensor powers =
      at::pow(rope.theta, at::arange(0, dimensions, 2, at::kFloat) / dimensions);
  switch (rope.kind) {
    case Kind::kDefault:
      return 1.0 / powers;
    case Kind::kDynamic:
      if (static_cast<double>(length) <= rope.original_positions) return 1.0 / powers;
      return dynamic_frequencies(rope, dimensions, at::full({1}, length, at::kFloat)).squeeze(0);
    case Kind::kLinear:
      return 1.0 / powers / rope.factor;
    case Kind::kYarn: {
      const at::Tensor shares = yarn_shares(rope, dimensions);
      return 1.0 / (rope.factor * powers) * (1.0 - shares) + 1.0 / powers * shares;
    }
    case Kind::kLongrope: {
      const bool longer = static_cast<double>(length) > rope.original_positions;
      const std::vector<double>& factors = longer ? rope.long_factors : rope.short_factors;
      return 1.0 / (at::tensor(factors, at::kFloat) * powers);
    }
    case Kind::kLlama3:
      return llama3_frequencies(rope, 1.0 / powers);
  }
  return {};
}

// Extreme bases and factors make angles that no float32 holds.
void check_angles(const JsonReader& section, const RopeConfig& rope, std::int64_t head_dim,
                  std::int64_t longest) {
  std::vector<double> values = {rope.attention_factor};
  for (const std::int64_t length : {std::int64_t{0}, longest}) {
    for (const double frequency : rope_frequencies(rope, head_dim, length)) {
      values.push_back(frequency);
    }
  }
  for (const double value : values) {
    if (std::abs(value) <= std::numeric_limits<float>::max()) continue;  // NaN is not
    section.fail("rope_theta",
                 fmt::format("{} with factors that make an angle of {}", rope.theta, value),
                 "a base and factors of finite angles");
  }
}

// Angles [positions, rotated / 2] of a sequence of `length` tokens: float32 products of float32
// factors.
at::Tensor angles(const RopeConfig& rope, std::int64_t head_dim, std::int64_t positions,
                  std::int64_t length) {
  const at::Tensor inverse = frequencies_of(rope, rotated_dimensions(rope, head_dim), length);
  return at::arange(positions, at::kFloat).unsqueeze(1) * inverse.unsqueeze(0);
}

RopeRows turned_by(const at::Tensor& angles, const RopeConfig& rope, at::Device device) {
  return {.cos = (angles.cos() * rope.attention_factor).contiguous().to(device),
          .sin = (angles.sin() * rope.attention_factor).contiguous().to(device)};
}

}  // namespace

std::int64_t rotated_dimensions(const RopeConfig& rope, std::int64_t head_dim) {
  return static_cast<std::int64_t>(static_cast<double>(head_dim) * rope.partial);
}

std::vector<double> rope_frequencies(const RopeConfig& rope, std::int64_t head_dim,
                                     std::int64_t length) {
  const at::Tensor values =
      frequencies_of(rope, rotated_dimensions(rope, head_dim), length).to(at::kDouble);
  return {values.data_ptr<double>(), values.data_ptr<double>() + values.numel()};
}

RopeConfig read_rope(const JsonReader& config, const JsonReader& section, double theta,
                     std::int64_t head_dim, std::int64_t max_positions, bool partial) {
  using Kind = RopeConfig::Kind;
  RopeConfig rope;
  rope.kind = kind_of(section);
  rope.theta = section.positive_or("rope_theta", theta);
  const JsonReader& owner = section.has("partial_rotary_factor") ? section : config;
  const double share = owner.positive_or("partial_rotary_factor", 1.0);
  if (!partial && share != 1.0 && rope.kind != Kind::kDefault) {
    owner.fail("partial_rotary_factor", fmt::format("{}", share),
               "1 with a scaled rope; only a Phi-3 turns a share of its heads");
  }
  if (partial) rope.partial = share;
  const std::int64_t dimensions =
      rope.partial <= 1.0 ? rotated_dimensions(rope, head_dim) : head_dim + 1;
  if (dimensions < 2 || dimensions % 2 != 0 || dimensions > head_dim) {
    owner.fail("partial_rotary_factor", fmt::format("{}", rope.partial),
               fmt::format("a share of head_dim {} that makes an even number", head_dim));
  }
  const auto positions = static_cast<double>(max_positions);
  const char* key = "original_max_position_embeddings";
  rope.original_positions =
      static_cast<double>(config.size_or(key, section.size_or(key, max_positions)));
  const double stretch = positions / rope.original_positions;
  if (rope.kind == Kind::kLinear || rope.kind == Kind::kDynamic) {
    rope.factor = section.positive("factor");
    if (rope.kind == Kind::kDynamic) {
      rope.original_positions = positions;
      const std::int64_t most = kMaxAngles / head_dim / max_positions;
      if (rope.factor > static_cast<double>(most)) {
        section.fail("factor", fmt::format("{}", rope.factor),
                     fmt::format("at most {} with {} positions", most, max_positions));
      }
    }
  } else if (rope.kind == Kind::kYarn) {
    read_yarn(section, stretch, rope);
  } else if (rope.kind == Kind::kLongrope) {
    read_longrope(section, stretch, static_cast<std::size_t>(dimensions / 2), rope);
  } else if (rope.kind == Kind::kLlama3) {
    read_llama3(section, rope);
  }
  check_angles(section, rope, head_dim, longest_sequence(rope, max_positions) + 1);
  return rope;
}

std::int64_t longest_sequence(const RopeConfig& rope, std::int64_t max_positions) {
  if (rope.kind != RopeConfig::Kind::kDynamic || rope.factor <= 1.0) return max_positions;
  return static_cast<std::int64_t>(static_cast<double>(max_positions) * rope.factor);
}

RopeTable::RopeTable(const RopeConfig& rope, std::int64_t head_dim, std::int64_t positions,
                     at::Device device)
    : config_(rope), head_dim_(head_dim) {
  const auto original = static_cast<std::int64_t>(rope.original_positions);
  at::Tensor all = angles(rope, head_dim, positions, 0);
  if (rope.kind == RopeConfig::Kind::kLongrope && original < positions) {
    short_limit = original;
    all = at::cat({all.slice(0, 0, original), angles(rope, head_dim, positions, original + 1)}, 0);
  } else if (rope.kind == RopeConfig::Kind::kDynamic) {
    dynamic_limit = original;
    const at::Tensor places = at::arange(original, positions, at::kFloat);
    const at::Tensor inverse =
        dynamic_frequencies(rope, rotated_dimensions(rope, head_dim), places + 1.0);
    all = at::cat({all.slice(0, 0, original), places.unsqueeze(1) * inverse}, 0);
  }
  static_cast<RopeRows&>(*this) = turned_by(all, rope, device);
}

RopeRows RopeTable::of_length(std::int64_t length) const {
  return turned_by(angles(config_, head_dim_, length, length), config_, cos.device());
}

}  // namespace limbic::model

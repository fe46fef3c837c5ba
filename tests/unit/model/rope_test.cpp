// Ropes: what config.json says about them, and their frequencies.
#include "trainer/model/config/rope.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"
#include "tests/unit/model/refused_config.h"
#include "trainer/base/error.h"

namespace limbic::model {
namespace {

void expect_near(const std::vector<double>& got, const std::vector<double>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-7) << i;
}

TEST(Rope, RopeOfBothSpellings) {
  Json json = tiny_config();
  json["rope_theta"] = 500.0;
  EXPECT_EQ(ModelConfig::parse(json, "x").ropes[0].theta, 500.0);
  json["rope_scaling"] = nullptr;
  EXPECT_EQ(ModelConfig::parse(json, "x").ropes[0].theta, 500.0);
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 70.0}};
  EXPECT_EQ(ModelConfig::parse(json, "x").ropes[0].theta, 70.0);
}

TEST(Rope, OtherRopeTypesAreRefusedByName) {
  const Json axial = {{"rope_type", "axial"}, {"factor", 4.0}};
  expect_refused("rope_scaling", axial, "'axial'");
  expect_refused("rope_parameters", axial, "'axial'");
  expect_refused("rope_scaling", {{"type", "ntk"}, {"factor", 2.0}}, "'ntk'");
  expect_refused("rope_scaling", {{"type", "linear"}}, "factor: got nothing");
  expect_refused("rope_parameters", {{"rope_type", "default"}, {"mrope_section", {1, 2}}},
                 "multimodal rope");
  expect_refused("rope_scaling", 3, "an object");
  expect_refused("rope_theta", "big", "a number");
  expect_refused("rope_theta", 0.0, "rope_theta");
  expect_refused("rope_parameters", {{"rope_type", "llama3"}, {"factor", 8.0}}, "low_freq_factor");
}

TEST(Rope, Llama3RopeMustBeUsable) {
  const Json good = {{"rope_type", "llama3"},
                     {"factor", 8.0},
                     {"low_freq_factor", 1.0},
                     {"high_freq_factor", 4.0},
                     {"original_max_position_embeddings", 16}};
  Json config = tiny_config();
  config["rope_parameters"] = good;
  EXPECT_EQ(refusal(config), "no error");
  for (const char* key :
       {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}) {
    Json bad = good;
    bad[key] = 0;
    expect_refused("rope_parameters", bad, key);
  }
  Json equal = good;
  equal["low_freq_factor"] = 4.0;
  expect_refused("rope_parameters", equal, "high_freq_factor");
}

TEST(Rope, EachLayerTypeMayHaveItsOwn) {
  Json json = tiny_config();
  json["architectures"] = Json::array({"Gemma3ForCausalLM"});
  json["sliding_window_pattern"] = 2;
  const auto expect_bases = [&](double global, double local) {
    const ModelConfig config = ModelConfig::parse(json, "x");
    const auto rope = [&](std::size_t layer) {
      return config.ropes[config.layer_kinds[layer].rope];
    };
    EXPECT_EQ(rope(0).theta, local);
    EXPECT_EQ(rope(1).theta, global);
  };
  expect_bases(1e6, 1e4);
  json["rope_theta"] = 500.0;
  json["rope_local_base_freq"] = 70.0;
  json["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 8.0}};
  expect_bases(500.0, 70.0);
  const ModelConfig old = ModelConfig::parse(json, "x");
  EXPECT_EQ(old.ropes[0].kind, RopeConfig::Kind::kLinear);  // of the layers without a window only
  EXPECT_EQ(old.ropes[1].kind, RopeConfig::Kind::kDefault);
  json["rope_parameters"] = {
      {"full_attention", {{"rope_type", "linear"}, {"factor", 8.0}, {"rope_theta", 900.0}}},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 90.0}}}};
  expect_bases(900.0, 90.0);
  json["architectures"] = Json::array({"Qwen2ForCausalLM"});
  json.erase("rope_scaling");
  json["layer_types"] = {"sliding_attention", "full_attention"};
  json["use_sliding_window"] = true;
  expect_bases(900.0, 90.0);
  json["rope_parameters"].erase("full_attention");
  EXPECT_NE(refusal(json).find("full_attention: got nothing"), std::string::npos) << refusal(json);
}

TEST(RopeFrequencies, DefaultIsAPowerOfTheta) {
  const auto frequencies = rope_frequencies({.theta = 100.0}, 4);
  ASSERT_EQ(frequencies.size(), 2u);
  EXPECT_DOUBLE_EQ(frequencies[0], 1.0);
  EXPECT_NEAR(frequencies[1], 0.1, 1e-8);
}

TEST(RopeFrequencies, LinearDivides) {
  expect_near(
      rope_frequencies({.kind = RopeConfig::Kind::kLinear, .theta = 100.0, .factor = 4.0}, 4),
      {0.25, 0.025});
}

const RopeConfig kDynamic{
    .kind = RopeConfig::Kind::kDynamic, .theta = 100.0, .factor = 4.0, .original_positions = 8.0};

// Base 100 (4 x 16 / 8 - 3)^(4 / 2) = 2500.
TEST(RopeFrequencies, DynamicGrowsWithTheLength) {
  for (const std::int64_t length : {0, 1, 8}) {
    expect_near(rope_frequencies(kDynamic, 4, length), {1.0, 0.1});
  }
  expect_near(rope_frequencies(kDynamic, 4, 16), {1.0, 0.02});
}

// 8 dimensions, base 10000, 4096 positions: the ramp reaches from floor(1.31) = 1 to ceil(2.81)
// = 3.
TEST(RopeFrequencies, YarnKeepsFastDimensionsAndStretchesSlowOnes) {
  const RopeConfig yarn{
      .kind = RopeConfig::Kind::kYarn, .factor = 4.0, .original_positions = 4096.0};
  expect_near(rope_frequencies(yarn, 8), {1.0, 0.1, 0.01 * (0.5 + 0.5 / 4.0), 0.001 / 4.0});
}

TEST(RopeFrequencies, LongropeHasTwoSets) {
  const RopeConfig rope{.kind = RopeConfig::Kind::kLongrope,
                        .theta = 100.0,
                        .original_positions = 8.0,
                        .short_factors = {1.0, 2.0},
                        .long_factors = {4.0, 5.0}};
  expect_near(rope_frequencies(rope, 4, 8), {1.0, 0.05});
  expect_near(rope_frequencies(rope, 4, 9), {0.25, 0.02});
}

TEST(RopeFrequencies, OnlyAShareOfAHeadMayBeRotated) {
  expect_near(rope_frequencies({.theta = 100.0, .partial = 0.5}, 8), {1.0, 0.1});
  Json json = tiny_config();
  json["partial_rotary_factor"] = 0.6;                                            // of 10
  EXPECT_EQ(rotated_dimensions(ModelConfig::parse(json, "x").ropes[0], 10), 10);  // a Llama's
  json["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 2.0}};
  EXPECT_NE(refusal(json).find("only a Phi-3"), std::string::npos) << refusal(json);
  json["architectures"] = Json::array({"Phi3ForCausalLM"});
  EXPECT_EQ(rotated_dimensions(ModelConfig::parse(json, "x").ropes[0], 10), 6);
  for (const double share : {0.5, 1.2, 0.1}) {
    json["partial_rotary_factor"] = share;
    EXPECT_NE(refusal(json).find("an even number"), std::string::npos) << refusal(json);
  }
}

TEST(Rope, TheOldSpellingThatAUserAddsWins) {
  Json json = tiny_config();
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1e6}};
  json["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 4.0}};
  const RopeConfig flat = ModelConfig::parse(json, "x").ropes[0];
  EXPECT_EQ(flat.kind, RopeConfig::Kind::kLinear);
  EXPECT_EQ(flat.theta, 1e4);
  json["rope_theta"] = 500.0;
  EXPECT_EQ(ModelConfig::parse(json, "x").ropes[0].theta, 500.0);
  json["rope_scaling"] = Json::object();
  EXPECT_EQ(ModelConfig::parse(json, "x").ropes[0].theta, 1e6);
  json["architectures"] = Json::array({"Gemma3ForCausalLM"});
  json["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 4.0}};
  json["rope_parameters"] = {
      {"full_attention", {{"rope_type", "default"}, {"rope_theta", 900.0}}},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 90.0}}}};
  const ModelConfig gemma = ModelConfig::parse(json, "x");
  EXPECT_EQ(gemma.ropes[0].kind, RopeConfig::Kind::kLinear);
  EXPECT_EQ(gemma.ropes[0].theta, 900.0);
  EXPECT_EQ(gemma.ropes[1].kind, RopeConfig::Kind::kDefault);
}

TEST(Rope, AttentionFactorsFollowTheStretch) {
  Json json = tiny_config();
  const auto factor_of = [&](const Json& section) {
    json["rope_scaling"] = section;
    return ModelConfig::parse(json, "x").ropes[0].attention_factor;
  };
  Json yarn = {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 16}};
  EXPECT_NEAR(factor_of(yarn), 0.1 * std::log(4.0) + 1.0, 1e-12);
  yarn["mscale"] = 0.5;
  yarn["mscale_all_dim"] = 1.0;
  EXPECT_NEAR(factor_of(yarn), (0.05 * std::log(4.0) + 1.0) / (0.1 * std::log(4.0) + 1.0), 1e-12);
  yarn["attention_factor"] = 0.75;
  EXPECT_EQ(factor_of(yarn), 0.75);
  Json longrope = {{"type", "su"},
                   {"short_factor", {1, 1, 1, 1, 1}},
                   {"long_factor", {2, 2, 2, 2, 2}},
                   {"original_max_position_embeddings", 16}};  // stretched to 64
  EXPECT_NEAR(factor_of(longrope), std::sqrt(1.0 + std::log(4.0) / std::log(16.0)), 1e-12);
  longrope["type"] = "yarn";  // as the first Phi-3 files call it
  const ModelConfig first = ModelConfig::parse(json, "x");
  EXPECT_NO_THROW(first.check_continuation(9, 16));
  EXPECT_NO_THROW(first.check_continuation(17, 30));
  EXPECT_THROW(first.check_continuation(16, 17), DataError);
  longrope["short_factor"] = {1, 1, 1};
  expect_refused("rope_scaling", longrope, "a list of 5 numbers");
}

// Short rows up to the boundary, then rows of long factors from position 0 on.
// Row 9 is of a sequence of 10: base 100 (4 x 10 / 8 - 3)^2 = 400.
TEST(RopeTable, FollowsADynamicRope) {
  ASSERT_EQ(longest_sequence(kDynamic, 8), 32);
  EXPECT_EQ(longest_sequence({.factor = 4.0}, 8), 8);
  const RopeTable table(kDynamic, 4, 32, at::kCPU);
  EXPECT_EQ(table.dynamic_limit, 8);
  ASSERT_EQ(table.cos.size(0), 32);
  EXPECT_NEAR(table.cos[7][1].item<float>(), std::cos(7 * 0.1), 1e-6);
  EXPECT_NEAR(table.sin[9][1].item<float>(), std::sin(9 / 20.0), 1e-6);
  const RopeRows rows = table.of_length(16);
  ASSERT_EQ(rows.sin.size(0), 16);
  EXPECT_NEAR(rows.sin[3][1].item<float>(), std::sin(3 * 0.02), 1e-6);
}

TEST(RopeTable, HoldsBothSetsOfLongrope) {
  const RopeConfig rope{.kind = RopeConfig::Kind::kLongrope,
                        .original_positions = 4.0,
                        .attention_factor = 2.0,
                        .short_factors = {1.0},
                        .long_factors = {10.0}};
  const RopeTable table(rope, 2, 8, at::kCPU);
  EXPECT_EQ(table.short_limit, 4);
  ASSERT_EQ(table.cos.size(0), 12);
  EXPECT_NEAR(table.cos[3][0].item<double>(), 2.0 * std::cos(3.0), 1e-6);
  EXPECT_NEAR(table.sin[4 + 7][0].item<double>(), 2.0 * std::sin(0.7), 1e-6);
}

}  // namespace
}  // namespace limbic::model

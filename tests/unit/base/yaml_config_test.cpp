#include "trainer/base/yaml_config.h"

#include <gtest/gtest.h>

#include "trainer/base/error.h"

namespace limbic {
namespace {

enum class Shape { kRound, kSquare };

struct Inner {
  double rate = 0.5;
  std::int64_t steps = 10;
};
void describe(Fields& f, Inner& c) {
  f.field("rate", c.rate, "a rate", Bounds::positive());
  f.field("steps", c.steps, "how many", Bounds::at_least(1));
}

struct Cat {
  std::int64_t lives = 9;
};
void describe(Fields& f, Cat& c) { f.field("lives", c.lives, "lives left"); }
struct Dog {
  std::string name = "rex";
};
void describe(Fields& f, Dog& c) { f.field("call", c.name, "its name"); }

struct Pet {
  std::variant<Cat, Dog> kind;
};
void describe(Fields& f, Pet& c) { f.variant("type", c.kind, {"cat", "dog"}, "which animal"); }

struct Outer {
  std::string name;
  bool fast = false;
  Shape shape = Shape::kRound;
  Inner inner;
  std::optional<Inner> extra;
  std::vector<Pet> pets;
  std::vector<std::pair<std::string, Inner>> named;
  std::vector<std::string> tags;
  Json free;
  std::optional<double> limit;
};
void describe(Fields& f, Outer& c) {
  f.field("name", c.name, "a name");
  f.field("fast", c.fast, "quick");
  f.choice("shape", c.shape, {{Shape::kRound, "round"}, {Shape::kSquare, "square"}}, "the shape");
  f.section("inner", c.inner, "the inner part");
  f.section("extra", c.extra, "an optional part");
  f.list("pets", c.pets, "animals");
  f.map("named", c.named, "by name");
  f.field("tags", c.tags, "tags");
  f.field("free", c.free, "anything");
  f.field("limit", c.limit, "a limit");
}

Outer read(const std::string& text, const std::vector<std::string>& overrides = {}) {
  Outer value;
  YamlDocument::parse(text, "run.yaml", overrides).read(value);
  return value;
}

std::string error_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    read(text, overrides);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

// What becomes of an error that is thrown after the file was read.
std::string placed(const std::string& message, const std::string& section = "") {
  const YamlDocument document =
      YamlDocument::parse("name: a\ninner:\n  rate: 2\npets:\n  - name: rex\n    lives: 3\n",
                          "run.yaml", {"fast=true"});
  try {
    document.in_place([&] { throw ConfigError(message); }, section);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(YamlConfig, PlacesErrorsThatAreFoundLater) {
  EXPECT_EQ(placed("inner.rate: got 2"), "run.yaml:3: inner.rate: got 2");
  EXPECT_EQ(placed("inner.steps: got 10"), "run.yaml:3: inner.steps: got 10");
  EXPECT_EQ(placed("pets.rex.lives: got 3"), "run.yaml:6: pets.rex.lives: got 3");
  EXPECT_EQ(placed("pets.0.kind: got it"), "run.yaml:5: pets.0.kind: got it");
  EXPECT_EQ(placed("fast: got true"), "command line: fast: got true");
  EXPECT_EQ(placed("rows.jsonl:3: got x"), "rows.jsonl:3: got x");
  EXPECT_EQ(placed("run.yaml:3: inner.rate: got 2"), "run.yaml:3: inner.rate: got 2");
  EXPECT_EQ(placed("models/a: got no folder"), "models/a: got no folder");
}

TEST(YamlConfig, PlacesKeysOfASection) {
  EXPECT_EQ(placed("lives: got 3", "pets.rex"), "run.yaml:6: pets.rex.lives: got 3");
  EXPECT_EQ(placed("inner.rate: got 2", "pets.rex"), "run.yaml:3: inner.rate: got 2");
}

TEST(YamlConfig, KnowsNamesWithAWordInFront) {
  const std::vector<std::string> known = {"save_steps", "steps", "gradient_accumulation_steps"};
  EXPECT_EQ(nearest_name("max_steps", known), "steps");
  EXPECT_EQ(nearest_name("save_step", known), "save_steps");
  EXPECT_EQ(nearest_name("grad_accumulation_steps", known), "gradient_accumulation_steps");
  EXPECT_EQ(nearest_name("lora_alpha", {"r", "alpha"}), "alpha");
}

TEST(YamlConfig, ReadsEveryKindOfField) {
  const Outer c = read(
      "name: a\nfast: true\nshape: square\ninner: {rate: 1e-3, steps: 7}\nextra: {}\n"
      "pets:\n  - {type: dog, call: bo}\n  - {type: cat, lives: 3}\nnamed: {x: {steps: 2}}\n"
      "tags: one\nfree: {a: [1, 2.5, \"3\"]}\nlimit: null\n");
  EXPECT_EQ(c.name, "a");
  EXPECT_TRUE(c.fast);
  EXPECT_EQ(c.shape, Shape::kSquare);
  EXPECT_DOUBLE_EQ(c.inner.rate, 0.001);
  EXPECT_TRUE(c.extra.has_value());
  EXPECT_EQ(std::get<Dog>(c.pets[0].kind).name, "bo");
  EXPECT_EQ(std::get<Cat>(c.pets[1].kind).lives, 3);
  EXPECT_EQ(c.named[0].first, "x");
  EXPECT_EQ(c.named[0].second.steps, 2);
  EXPECT_EQ(c.tags, std::vector<std::string>{"one"});
  EXPECT_EQ(c.free.dump(), R"({"a":[1,2.5,"3"]})");
  EXPECT_FALSE(c.limit.has_value());
}

TEST(YamlConfig, NamesTheNearestKnownKey) {
  EXPECT_EQ(error_of("name: a\ninner:\n  stpes: 3\n"),
            "run.yaml:3: inner.stpes: got an unknown key 'stpes', want a known one; did you mean "
            "'steps'?");
}

TEST(YamlConfig, RefusesAStringForANumber) {
  EXPECT_EQ(error_of("inner: {steps: \"3\"}"),
            "run.yaml:1: inner.steps: got the string \"3\", want a whole number");
  EXPECT_EQ(error_of("inner: {rate: fast}"), "run.yaml:1: inner.rate: got 'fast', want a number");
  EXPECT_EQ(error_of("inner: {steps: 1.5}"),
            "run.yaml:1: inner.steps: got '1.5', want a whole number");
}

TEST(YamlConfig, RefusesValuesOutOfBounds) {
  EXPECT_EQ(error_of("inner: {steps: -1}"),
            "run.yaml:1: inner.steps: got -1, want a number of at least 1");
  EXPECT_EQ(error_of("inner: {rate: 0}"), "run.yaml:1: inner.rate: got 0, want a number above 0");
}

TEST(YamlConfig, RefusesDuplicateKeysAndCycles) {
  EXPECT_EQ(error_of("name: a\nname: b\n"), "run.yaml:2: name: got the key twice, want it once");
  EXPECT_EQ(error_of("pets:\n  - {type: cat, type: dog}\n"),
            "run.yaml:2: pets.0.type: got the key twice, want it once");
  const std::string cycle = error_of("free: &x [*x]\n");
  EXPECT_EQ(cycle.find("run.yaml:1: free.0.0"), 0U) << cycle;
  EXPECT_NE(cycle.find("anchor"), std::string::npos);
}

TEST(YamlConfig, NamesTheLineOfBrokenYaml) {
  EXPECT_EQ(error_of("name: a\nfast: [\n").substr(0, 10), "run.yaml:3");
}

TEST(YamlConfig, RefusesAnUnknownChoice) {
  EXPECT_EQ(error_of("shape: squre"),
            "run.yaml:1: shape: got 'squre', want one of: round, square; did you mean 'square'?");
  EXPECT_EQ(error_of("pets: [{lives: 3}]"), "run.yaml:1: pets.0: got no 'type', want it set");
}

TEST(YamlConfig, OverridesByIndexAndByName) {
  const std::string text = "name: a\npets: [{type: cat}]\nnamed: {x: {steps: 2}}\n";
  EXPECT_EQ(std::get<Cat>(read(text, {"pets.0.lives=4"}).pets[0].kind).lives, 4);
  EXPECT_EQ(read(text, {"named.x.steps=5"}).named[0].second.steps, 5);
  EXPECT_EQ(read(text, {"inner.rate=2"}).inner.rate, 2.0);
  EXPECT_EQ(error_of(text, {"inner.stpes=5"}),
            "command line: inner.stpes: got an unknown key 'stpes', want a known one; did you mean "
            "'steps'?");
  EXPECT_EQ(error_of(text, {"inner.steps=\"5\""}),
            "command line: inner.steps: got the string \"5\", want a whole number");
  EXPECT_EQ(error_of(text, {"inner.steps"}),
            "command line: got 'inner.steps', want section.key=value");
}

TEST(YamlConfig, WhatIsWrittenReadsBackTheSame) {
  Outer c =
      read("name: 'a: b'\nextra: {rate: 0.1}\npets: [{type: dog}]\nnamed: {x: {}}\nfree: {a: 1}\n");
  const std::string first = YamlWriter().write(c);
  EXPECT_EQ(YamlWriter().write(read(first)), first);
}

TEST(YamlConfig, DocumentsEveryAlternative) {
  const std::string text = MarkdownWriter().write(Outer{});
  EXPECT_NE(text.find("`pets[].(type: cat) lives`"), std::string::npos) << text;
  EXPECT_NE(text.find("`named.NAME.steps` | whole number >= 1 | 10 |"), std::string::npos) << text;
}

}  // namespace
}  // namespace limbic

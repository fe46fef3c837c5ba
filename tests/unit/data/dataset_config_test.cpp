#include "data/dataset_config.h"

#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"
#include "trainer/base/error.h"
#include "trainer/base/yaml_config.h"

namespace limbic::data {
namespace {

using test::message_of;

DatasetConfig read(const std::string& yaml) {
  DatasetConfig config;
  YamlDocument::parse(yaml, "run.yaml").read(config);
  return config;
}

std::string error_of(const std::string& yaml) {
  return message_of<ConfigError>([&] { read(yaml); });
}

bool keeps(const std::string& filter, const std::string& row) {
  return RowFilter(Json::parse(filter)).keeps({Json::parse(row), "f.jsonl", 2});
}

TEST(DatasetConfig, ReadsEveryKey) {
  const DatasetConfig config = read(
      "path: a.jsonl\ncolumns: {label: emotion}\nprompt: 'Say {text}'\nsystem: s\n"
      "response: '{label}'\nrepeat: 2\nsample: random:10%\nfilter: {column: label, in: [joy]}\n");
  EXPECT_EQ(config.path, std::vector<std::string>{"a.jsonl"});
  EXPECT_EQ(config.columns[0], (std::pair<std::string, std::string>{"label", "emotion"}));
  EXPECT_EQ(config.prompt, "Say {text}");
  EXPECT_EQ(config.response, "{label}");
  EXPECT_EQ(config.repeat, 2);
  EXPECT_EQ(config.sample, "random:10%");
  EXPECT_EQ(config.filter.dump(), R"({"column":"label","in":["joy"]})");
  EXPECT_EQ(read("path: [a.jsonl, b.jsonl.gz]").path.size(), 2u);
}

TEST(DatasetConfig, RefusesWhatCannotWork) {
  EXPECT_EQ(error_of("repeat: 1"), "run.yaml:1: top level: got no 'path', want it set");
  EXPECT_EQ(error_of("path: []"), "run.yaml:1: path: got an empty list, want at least one file");
  EXPECT_EQ(error_of("path: a\nrepeat: 0"),
            "run.yaml:2: repeat: got 0, want a number of at least 1");
  EXPECT_EQ(error_of("path: a\nprompt: '{text'"),
            "run.yaml:2: prompt: got a single '{' at byte 1, want {column}; write '{{' for the "
            "brace itself");
  EXPECT_EQ(error_of("path: a\nsample: some"),
            "run.yaml:2: sample: got 'some', want all, first:N, random:N or random:N% with N above "
            "0 (N% at most 100)");
  EXPECT_EQ(error_of("path: a\nfilter: {column: x, is: [1]}"),
            "run.yaml:2: filter: got {\"column\":\"x\",\"is\":[1]}, want {column, in: [...]} or "
            "{column, not_in: [...]}");
}

TEST(DatasetConfig, ReadsSamples) {
  EXPECT_EQ(parse_sample("all").kind, Sample::Kind::kAll);
  EXPECT_EQ(parse_sample("first:12").rows, 12);
  EXPECT_EQ(parse_sample("random:7").rows, 7);
  EXPECT_EQ(parse_sample("random:7").kind, Sample::Kind::kRandom);
  EXPECT_DOUBLE_EQ(parse_sample("random:2.5%").percent, 2.5);
  for (const char* text : {"first:0", "first:-1", "first:", "first:3%", "random:0%", "random:101%",
                           "random:x", "first: 3", "", "random:nan%"}) {
    EXPECT_THROW(parse_sample(text), ConfigError) << text;
  }
}

TEST(RowFilter, KeepsListedValues) {
  const std::string filter = R"({"column":"a","in":["x",1]})";
  EXPECT_TRUE(keeps(filter, R"({"a":"x"})"));
  EXPECT_TRUE(keeps(filter, R"({"a":1})"));
  EXPECT_FALSE(keeps(filter, R"({"a":"1"})"));
  EXPECT_FALSE(keeps(filter, R"({"a":null})"));
  EXPECT_FALSE(keeps(R"({"column":"a","not_in":["x"]})", R"({"a":"x"})"));
  EXPECT_TRUE(keeps(R"({"column":"a","not_in":["x"]})", R"({"a":"y"})"));
}

TEST(RowFilter, WantsEveryConditionToHold) {
  const std::string filter = R"([{"column":"a","in":[1,2]},{"column":"b","not_in":[0]}])";
  EXPECT_TRUE(keeps(filter, R"({"a":2,"b":1})"));
  EXPECT_FALSE(keeps(filter, R"({"a":2,"b":0})"));
  EXPECT_FALSE(keeps(filter, R"({"a":3,"b":1})"));
}

TEST(RowFilter, NamesAMissingColumn) {
  EXPECT_EQ(message_of<DataError>([] { keeps(R"({"column":"a","in":[1]})", R"({"b":1})"); }),
            "f.jsonl:2: got no column 'a', want it for 'filter'; the row has b");
}

TEST(RenameColumns, GivesColumnsOurNames) {
  DatasetConfig config;
  const Json row = Json::parse(R"({"id":1,"emotion":"joy","label":"old","b":2})");
  EXPECT_EQ(rename_columns(row, config), row);
  config.columns = {{"label", "emotion"}};
  EXPECT_EQ(rename_columns(row, config).dump(), R"({"id":1,"label":"joy","b":2})");
  config.columns = {{"b", "id"}, {"id", "b"}, {"emotion", "emotion"}};
  EXPECT_EQ(rename_columns(row, config).dump(), R"({"b":1,"emotion":"joy","label":"old","id":2})");
}

}  // namespace
}  // namespace limbic::data

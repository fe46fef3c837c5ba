#include "data/dataset.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/support/temp_folder.h"
#include "trainer/base/error.h"

namespace limbic::data {
namespace {

using test::message_of;
using test::TempFolder;

// n rows {"i": 0}, {"i": 1}, ...
std::string numbered(int n) {
  std::string text;
  for (int i = 0; i < n; ++i) text += "{\"i\": " + std::to_string(i) + "}\n";
  return text;
}

std::vector<int> numbers(const Dataset& dataset) {
  std::vector<int> out;
  for (std::int64_t i = 0; i < dataset.size(); ++i) out.push_back(dataset.row(i).value["i"]);
  return out;
}

DatasetConfig from(const std::vector<std::string>& path, const std::string& sample = "all") {
  DatasetConfig config;
  config.path = path;
  config.sample = sample;
  return config;
}

TEST(Dataset, ReadsEveryFileInOrderAndKnowsWhereRowsAre) {
  const TempFolder folder;
  const auto a = folder.write("a.jsonl", "{\"i\": 5}\n\n{\"i\": 6}\n");
  const auto b = folder.write("b.jsonl", "{\"i\": 7}\n");
  const Dataset dataset = Dataset::load("d", from({a, b}), 0);
  EXPECT_EQ(numbers(dataset), (std::vector<int>{5, 6, 7}));
  EXPECT_EQ(dataset.row(1).file, a);
  EXPECT_EQ(dataset.row(1).line, 3);
  EXPECT_EQ(dataset.row(2).file, b);
  EXPECT_EQ(dataset.row(2).line, 1);
  EXPECT_EQ(dataset.text(2), "{\"i\": 7}");
}

TEST(Dataset, HashesTheUsedRows) {
  const TempFolder folder;
  const auto path = folder.write("a.jsonl", "{\"i\": 0}\r\n{\"i\": 1}\r\n{\"i\": 2}");
  // printf '{"i": 0}\n{"i": 1}\n' | sha256sum
  EXPECT_EQ(Dataset::load("d", from({path}, "first:2"), 0).hash(),
            "347b940a8d53736e3368ba8ff77645f5bb19a4ff7f21c859b95baa1bcd58eb14");
  EXPECT_NE(Dataset::load("d", from({path}), 0).hash(),
            Dataset::load("d", from({path}, "first:2"), 0).hash());
}

TEST(Dataset, SamplesExactlyTheRowsAskedForInFileOrder) {
  const TempFolder folder;
  const auto path = folder.write("a.jsonl", numbered(100));
  EXPECT_EQ(numbers(Dataset::load("d", from({path}, "first:3"), 1)), (std::vector<int>{0, 1, 2}));
  const auto drawn = numbers(Dataset::load("d", from({path}, "random:10"), 1));
  EXPECT_EQ(drawn.size(), 10u);
  EXPECT_TRUE(std::is_sorted(drawn.begin(), drawn.end()));
  EXPECT_EQ(std::set<int>(drawn.begin(), drawn.end()).size(), 10u);
  EXPECT_EQ(numbers(Dataset::load("d", from({path}, "random:10"), 1)), drawn);
  EXPECT_NE(numbers(Dataset::load("d", from({path}, "random:10"), 2)), drawn);
  EXPECT_NE(numbers(Dataset::load("e", from({path}, "random:10"), 1)), drawn);
  EXPECT_EQ(Dataset::load("d", from({path}, "random:25%"), 1).size(), 25);
  EXPECT_EQ(Dataset::load("d", from({path}, "random:100"), 1).size(), 100);
}

TEST(Dataset, FiltersBeforeItSamples) {
  const TempFolder folder;
  const auto path = folder.write("a.jsonl", numbered(10));
  DatasetConfig config = from({path}, "first:2");
  config.columns = {{"index", "i"}};
  config.filter = Json::parse(R"({"column":"index","in":[3,5,7]})");
  const Dataset dataset = Dataset::load("d", config, 0);
  ASSERT_EQ(dataset.size(), 2);
  EXPECT_EQ(dataset.row(0).value.dump(), R"({"index":3})");
  EXPECT_EQ(dataset.row(1).line, 6);
}

TEST(Dataset, RefusesTooFewRows) {
  const TempFolder folder;
  const auto path = folder.write("a.jsonl", numbered(3));
  EXPECT_EQ(message_of<DataError>([&] { Dataset::load("d", from({path}, "random:4"), 0); }),
            path + ": got 3 rows for 'sample: random:4' of data set 'd', want 4");
  EXPECT_EQ(message_of<DataError>([&] { Dataset::load("d", from({path}, "first:4"), 0); }),
            path + ": got 3 rows for 'sample: first:4' of data set 'd', want 4");
  EXPECT_EQ(message_of<DataError>([&] { Dataset::load("d", from({path}, "random:1%"), 0); }),
            path + ": got 3 rows for 'sample: random:1%' of data set 'd', want at least one");
  DatasetConfig config = from({path});
  config.filter = Json::parse(R"({"column":"i","in":[9]})");
  EXPECT_EQ(message_of<DataError>([&] { Dataset::load("d", config, 0); }),
            path +
                ": got 0 rows after the filter for 'sample: all' of data set 'd', want at least "
                "one");
}

TEST(Dataset, NamesTheLineOfABadRow) {
  const TempFolder folder;
  const auto path = folder.write("a.jsonl", "{\"i\": 0}\nnope\n");
  EXPECT_TRUE(message_of<DataError>([&] {
                Dataset::load("d", from({path}), 0);
              }).starts_with(path + ":2: got invalid JSON"));
}

TEST(Mixture, RepeatsRowsByTheirWeight) {
  const TempFolder folder;
  DatasetConfig config = from({folder.write("a.jsonl", numbered(2))});
  config.repeat = 2;
  config.prompt = "a{i}";
  const Dataset a = Dataset::load("a", config, 0);
  config = from({folder.write("b.jsonl", "{\"i\": 9, \"text\": \"t\"}\n")});
  config.prompt = "b{i}";
  const Dataset b = Dataset::load("b", config, 0);
  const Mixture mixture({&a, &b});
  ASSERT_EQ(mixture.size(), 5);
  std::string prompts;
  for (int i = 0; i < 5; ++i) {
    prompts += mixture.messages(i, false)[0]["content"].get<std::string>() + " ";
  }
  EXPECT_EQ(prompts, "a0 a1 a0 a1 b9 ");
  EXPECT_EQ(&mixture.dataset_of(3), &a);
  EXPECT_EQ(&mixture.dataset_of(4), &b);
  EXPECT_EQ(mixture.row(4).line, 1);
  EXPECT_THROW(mixture.row(5), std::logic_error);
}

}  // namespace
}  // namespace limbic::data

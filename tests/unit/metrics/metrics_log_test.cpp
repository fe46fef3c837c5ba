#include "trainer/metrics/metrics_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>
#include <sstream>

#include "tests/support/temp_folder.h"
#include "trainer/base/error.h"
#include "trainer/base/file.h"

namespace limbic::metrics {
namespace {

using test::TempFolder;
using testing::HasSubstr;

std::vector<Json> rows_of(const std::string& path) {
  std::vector<Json> rows;
  std::istringstream text(read_file(path));
  for (std::string line; std::getline(text, line);) rows.push_back(Json::parse(line));
  return rows;
}

// Resumes `stage` after `step` in a file with this content.
std::string after_resume(const std::string& content, const std::string& stage, std::int64_t step) {
  const TempFolder folder;
  const std::string path = folder.write("metrics.jsonl", content);
  MetricsLog(path, true).resume_stage(stage, step);
  return read_file(path);
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

TEST(MetricsLog, EachCallIsOneLine) {
  const TempFolder folder;
  const std::string path = folder.file("run/metrics.jsonl");
  const double before = now();
  MetricsLog log(path, true);
  log.log("sft", 1, {{"loss", 0.25}, {"epoch", 1}, {"text", "a\nb"}});
  EXPECT_EQ(rows_of(path).size(), 1u) << "in the file before the log is closed";
  log.log("grpo", 2, Json::object());
  const auto rows = rows_of(path);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0]["stage"], "sft");
  EXPECT_EQ(rows[0]["step"], 1);
  EXPECT_EQ(rows[0]["loss"], 0.25);
  EXPECT_EQ(rows[0]["text"], "a\nb");
  EXPECT_GE(rows[0]["time"].get<double>(), before);
  EXPECT_LE(rows[1]["time"].get<double>(), now());
  EXPECT_EQ(rows[1]["stage"], "grpo");
}

TEST(MetricsLog, WhatIsNotFiniteBecomesNull) {
  const TempFolder folder;
  const std::string path = folder.file("metrics.jsonl");
  const double infinity = std::numeric_limits<double>::infinity();
  MetricsLog(path, true)
      .log("sft", 1,
           {{"a", std::nan("")},
            {"b", infinity},
            {"c", {1.5, -infinity}},
            {"d", {{"e", std::nan("")}, {"f", 2}}},
            {"g", nullptr},
            {"h", std::numeric_limits<double>::max()}});
  const Json row = rows_of(path)[0];
  EXPECT_TRUE(row["a"].is_null());
  EXPECT_TRUE(row["b"].is_null());
  EXPECT_EQ(row["c"], Json::array({1.5, nullptr}));
  EXPECT_EQ(row["d"], Json::object({{"e", nullptr}, {"f", 2}}));
  EXPECT_TRUE(row["g"].is_null());
  EXPECT_EQ(row["h"], std::numeric_limits<double>::max());
}

TEST(MetricsLog, BytesThatAreNoTextStillMakeALine) {
  const TempFolder folder;
  const std::string path = folder.file("metrics.jsonl");
  MetricsLog(path, true).log("sft", 1, {{"text", "a\xff"}});
  EXPECT_EQ(rows_of(path)[0]["text"], "a\xef\xbf\xbd");
}

TEST(MetricsLog, AppendsToWhatIsThere) {
  const TempFolder folder;
  const std::string path = folder.write("metrics.jsonl", "{\"stage\": \"sft\", \"step\": 1}\n");
  MetricsLog(path, true).log("sft", 2, Json::object());
  MetricsLog(path, true).log("sft", 3, Json::object());
  const auto rows = rows_of(path);
  ASSERT_EQ(rows.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(rows[i]["step"], i + 1);
}

TEST(MetricsLog, OtherRanksWriteNothing) {
  const TempFolder folder;
  const std::string path = folder.file("metrics.jsonl");
  MetricsLog log(path, false);
  log.log("sft", 1, Json::object());
  log.resume_stage("sft", 0);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(MetricsLog, AFileThatCannotBeWrittenIsADataError) {
  const TempFolder folder;
  folder.write("file", "");
  EXPECT_THAT(test::message_of<DataError>([&] { MetricsLog(folder.file("file/m.jsonl"), true); }),
              HasSubstr("file/m.jsonl: got "));
  MetricsLog full("/dev/full", true);
  EXPECT_THAT(test::message_of<DataError>([&] { full.log("sft", 1, Json::object()); }),
              HasSubstr("/dev/full: got "));
}

// Spacing, order of keys and numbers as no writer of ours would put them.
constexpr const char* kOthers[] = {
    "{\"step\":9,  \"stage\":\"grpo\",\"x\":1.50e0}\n", "{ \"stage\": \"sft\", \"step\": 3 }\n",
    "{\"stage\": \"sft\", \"step\": 1, \"note\": \"\xc3\xbc \\u00fc\"}\r\n"};

TEST(MetricsLogResume, DropsOnlyLaterLinesOfItsStage) {
  const std::string others[] = {kOthers[0], kOthers[1], kOthers[2]};
  const std::string later = "{\"stage\":\"sft\",\"step\":4}\n";
  EXPECT_EQ(after_resume(others[2] + others[1] + later + others[0] + later, "sft", 3),
            others[2] + others[1] + others[0]);
  EXPECT_EQ(after_resume(others[0] + others[1] + later, "grpo", 8), others[1] + later);
  EXPECT_EQ(after_resume(others[0] + others[1], "sf", -1), others[0] + others[1]);
  EXPECT_EQ(after_resume(others[0] + others[1] + others[2], "sft", -1), others[0]);
  EXPECT_EQ(after_resume("", "sft", 3), "");
}

TEST(MetricsLogResume, AFileWithNothingToDropIsNotTouched) {
  const TempFolder folder;
  const std::string path = folder.write("metrics.jsonl", std::string(kOthers[0]) + kOthers[1]);
  const auto inode = [&] {
    struct stat info {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0);
    return info.st_ino;
  };
  const auto before = inode();
  MetricsLog(path, true).resume_stage("sft", 3);
  EXPECT_EQ(inode(), before);
}

TEST(MetricsLogResume, DropsWhatACrashToreAtTheEnd) {
  const std::string sound = std::string(kOthers[1]) + kOthers[0];
  for (const std::string& torn :
       {std::string("{\"stage\":\"grpo\",\"st"), std::string("{\"stage\":\"grpo\",\"step\":1}"),
        std::string("{\"stage\":\n"), std::string(12, '\0'), std::string("\0\0\n", 3),
        std::string("{\"a\n{\"b\n{\"c"), std::string("\n")}) {
    EXPECT_EQ(after_resume(sound + torn, "sft", 3), sound);
  }
}

TEST(MetricsLogResume, WhatIsNotOursStays) {
  const std::string foreign =
      "{\"stage\":7,\"step\":9}\n{\"stage\":\"sft\",\"step\":\"9\"}\n{\"stage\":\"sft\"}\n"
      "{\"step\":9}\n# a remark\n\n[1]\n{}\n";
  EXPECT_EQ(after_resume(foreign, "sft", 3), foreign);
}

TEST(MetricsLogResume, GoesOnWritingBehindWhatIsKept) {
  const TempFolder folder;
  const std::string path = folder.write(
      "metrics.jsonl", std::string(kOthers[1]) + "{\"stage\":\"sft\",\"step\":5}\n{\"sta");
  MetricsLog log(path, true);
  log.resume_stage("sft", 3);
  log.log("sft", 4, {{"loss", 1}});
  const auto rows = rows_of(path);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[1]["step"], 4);
}

}  // namespace
}  // namespace limbic::metrics

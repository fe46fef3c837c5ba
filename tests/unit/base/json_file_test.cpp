#include "trainer/base/json_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "tests/support/temp_folder.h"
#include "trainer/base/error.h"
#include "trainer/base/file.h"

namespace limbic {
namespace {

using test::message_of;
using test::TempFolder;
using testing::HasSubstr;
using testing::StartsWith;

std::string refusal(const std::string& text) {
  return message_of<DataError>([&] { parse_json(text, "f.json"); });
}

std::string nested(std::size_t levels) {
  return std::string(levels, '[') + std::string(levels, ']');
}

TEST(JsonFile, DepthIsBounded) {
  EXPECT_EQ(refusal(nested(kMaxJsonDepth)), "no error");
  EXPECT_EQ(refusal(nested(kMaxJsonDepth + 1)),
            "f.json: got JSON that nests deeper than 100 levels, want less");
  EXPECT_EQ(refusal("[" + nested(90) + "," + nested(90) + "]"), "no error");
}

TEST(JsonFile, BracketsAndColonsOfStringsDoNotCount) {
  EXPECT_EQ(refusal("[\"" + std::string(500, '[') + "\"]"), "no error");
  EXPECT_EQ(refusal(R"(["\"[[\\", "\\\\", "\\\"{"])"), "no error");
  EXPECT_NO_THROW(check_json_bounds(R"({"::::::": ":"})", "f", 1));
}

TEST(JsonFile, KeysOfOneObjectAreBounded) {
  EXPECT_NO_THROW(check_json_bounds(R"({"a": {"b": 1, "c": 2}, "d": {"e": 3}})", "f", 2));
  EXPECT_EQ(message_of<DataError>([] { check_json_bounds(R"([{"a": 1, "b": 2}])", "f", 1); }),
            "f: got an object of more than 1 keys, want less");
}

TEST(JsonFile, WhatIsNoJsonIsRefused) {
  for (const char* text : {"", "{", "[1,", "NaN", "1e999", "{\"a\": \"\xFF\"}", "{} {}", "\"a"}) {
    EXPECT_THAT(refusal(text), StartsWith("f.json: got broken JSON (")) << text;
  }
  EXPECT_EQ(refusal(std::string("{}\0{", 4)), "f.json: got a zero byte, which no JSON has");
}

TEST(JsonFile, OrderIsKeptOrSorted) {
  EXPECT_EQ(parse_json(R"({"b": 1, "a": 2, "b": 3})", "f").dump(), R"({"b":3,"a":2})");
  EXPECT_EQ(parse_sorted_json(R"({"b": 1, "a": 2})", "f").dump(), R"({"a":2,"b":1})");
}

TEST(JsonFile, FilesHoldObjects) {
  const TempFolder folder;
  EXPECT_EQ(read_json_object(folder.write("a.json", R"({"a": 1})")).at("a"), 1);
  EXPECT_EQ(message_of<DataError>([&] { read_json_object(folder.write("b.json", "[1]")); }),
            folder.file("b.json") + ": got array, want a JSON object");
}

TEST(RegularFiles, NothingElseIsRead) {
  const TempFolder folder;
  EXPECT_EQ(read_regular_file(folder.write("a", std::string("x\0y", 3))), std::string("x\0y", 3));
  const auto refusal_of = [&](const std::string& name) {
    return message_of<DataError>([&] { read_regular_file(folder.file(name)); });
  };
  EXPECT_THAT(refusal_of("absent"), HasSubstr("absent: got no readable file"));
  EXPECT_THAT(refusal_of(""), HasSubstr("got a folder, pipe or device"));
  ASSERT_EQ(::mkfifo(folder.file("pipe").c_str(), 0600), 0);
  EXPECT_THAT(refusal_of("pipe"), HasSubstr("pipe: got a folder, pipe or device"));
  std::filesystem::create_symlink("circle", folder.file("circle"));
  EXPECT_THAT(refusal_of("circle"), HasSubstr("circle: got no readable file"));
  std::filesystem::create_symlink("a", folder.file("link"));
  EXPECT_EQ(refusal_of("link"), "no error");
  folder.write("huge", "");
  std::filesystem::resize_file(folder.file("huge"), (std::uintmax_t{1} << 30) + 1);
  EXPECT_THAT(refusal_of("huge"), HasSubstr("want at most 1073741824"));
}

TEST(RegularFiles, NamesAreFoundWhereverTheyLead) {
  const TempFolder folder;
  std::filesystem::create_symlink("circle", folder.file("circle"));
  std::filesystem::create_symlink("nowhere", folder.file("dangling"));
  folder.write("file", "");
  for (const char* name : {"circle", "dangling", "file", ""}) {
    EXPECT_TRUE(is_named(folder.file(name))) << name;
    EXPECT_EQ(is_folder(folder.file(name)), *name == '\0') << name;
  }
  EXPECT_FALSE(is_named(folder.file("absent")));
  EXPECT_FALSE(is_named(folder.file("file/below")));
}

}  // namespace
}  // namespace limbic

#include "data/json_row.h"

#include <gtest/gtest.h>

namespace limbic::data {
namespace {

TEST(JsonRow, KeepsOtherMembersByteForByte) {
  const std::string row =
      R"( { "n":9007199254740993 ,"x": 1.50, "s":"a\u00e9\"}{", "l":[1,{"k":"]"}] , "z":null } )";
  EXPECT_EQ(
      with_fields(row, {{"out", "[1, 2]"}}),
      R"({ "n":9007199254740993 ,"x": 1.50, "s":"a\u00e9\"}{", "l":[1,{"k":"]"}] , "z":null, )"
      R"("out": [1, 2] })");
}

TEST(JsonRow, ReplacesInPlace) {
  EXPECT_EQ(with_fields(R"({"a": 1, "ids": [1], "b": 2})", {{"ids", "[7]"}, {"new", "true"}}),
            R"({"a": 1, "ids": [7], "b": 2, "new": true})");
}

TEST(JsonRow, FindsEscapedKeysAndEveryRepeat) {
  EXPECT_EQ(with_fields(R"({"\u0061": 1, "b": {"a": 3}, "a": 2})", {{"a", "0"}}),
            R"({"\u0061": 0, "b": {"a": 3}, "a": 0})");
}

TEST(JsonRow, FillsAnEmptyObject) {
  EXPECT_EQ(with_fields("{}", {{"a", "1"}, {"b\"c", "2"}}), R"({"a": 1, "b\"c": 2})");
  EXPECT_EQ(with_fields("{ }", {{"a", "1"}}), R"({"a": 1 })");
}

TEST(JsonRow, LeavesTheRowAloneWithoutFields) {
  EXPECT_EQ(with_fields("{\"a\":1e400}", {}), "{\"a\":1e400}");
  EXPECT_EQ(with_fields("{}", {}), "{}");
}

TEST(JsonRow, ListsRawMembers) {
  const std::string row = R"({"a" : -1.0e+2, "b":"x,y", "c":{"d":[]}})";
  const auto members = raw_members(row);
  ASSERT_EQ(members.size(), 3u);
  EXPECT_EQ(members[0].key, "a");
  EXPECT_EQ(members[0].value, "-1.0e+2");
  EXPECT_EQ(members[1].value, "\"x,y\"");
  EXPECT_EQ(members[2].value, "{\"d\":[]}");
}

}  // namespace
}  // namespace limbic::data

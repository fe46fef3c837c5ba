#include "data/text_template.h"

#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"
#include "trainer/base/error.h"

namespace limbic::data {
namespace {

using test::message_of;

const Row kRow{Json::parse(R"({"text": "a {b}", "n": 3, "ok": true, "l": [1, "x"], "no": null})"),
               "f.jsonl", 7};

std::string render(const std::string& text) { return TextTemplate(text).render(kRow, "it"); }

TEST(TextTemplate, FillsInStringsAsTheyAreAndTheRestAsJson) {
  EXPECT_EQ(render("[{text}] {n} {ok} {l}"), "[a {b}] 3 true [1,\"x\"]");
  EXPECT_EQ(render("{n}{n}\n"), "33\n");
  EXPECT_EQ(render(""), "");
}

TEST(TextTemplate, WritesDoubledBracesAsOne) { EXPECT_EQ(render("{{n}} {{{n}}}"), "{n} {3}"); }

TEST(TextTemplate, NamesAMissingColumnAndWhatTheRowHas) {
  EXPECT_EQ(message_of<DataError>([] { render("{txt}"); }),
            "f.jsonl:7: got no column 'txt', want it; the row has text, n, ok, l, no");
  EXPECT_EQ(message_of<DataError>([] { render("{no}"); }),
            "f.jsonl:7: got null in column 'no', want it");
}

TEST(TextTemplate, RefusesALonelyBrace) {
  EXPECT_EQ(message_of<ConfigError>([] { TextTemplate("ab}"); }),
            "got a single '}' at byte 3, want {column}; write '}}' for the brace itself");
  EXPECT_EQ(message_of<ConfigError>([] { TextTemplate("{a"); }),
            "got a single '{' at byte 1, want {column}; write '{{' for the brace itself");
  EXPECT_EQ(message_of<ConfigError>([] { TextTemplate("{a{b}"); }),
            "got a single '{' at byte 1, want {column}; write '{{' for the brace itself");
  EXPECT_EQ(message_of<ConfigError>([] { TextTemplate("x{}"); }),
            "got '{}' at byte 2, want a column's name inside");
}

TEST(TextTemplate, ListsItsColumns) {
  EXPECT_EQ(TextTemplate("{a} {{b}} {c}").columns(), (std::vector<std::string>{"a", "c"}));
}

}  // namespace
}  // namespace limbic::data

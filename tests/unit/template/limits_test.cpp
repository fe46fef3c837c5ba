// Templates that never end, and where errors point to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/template/chat_template.h"
#include "trainer/base/error.h"

namespace limbic::data {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string render(const std::string& source, const Json& variables = Json::object()) {
  return ChatTemplate::parse(source, "t.jinja", Json::object())
      .render(Json::array(), false, variables)
      .text;
}

std::string error_of(const std::string& source, const Json& variables = Json::object()) {
  try {
    return "no error: " + render(source, variables);
  } catch (const DataError& error) {
    return error.what();
  }
}

std::string repeated(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

TEST(Limits, StepsNameThemselves) {
  EXPECT_EQ(error_of("{% set l = range(90000) | list %}\n"
                     "{% for i in l %}{{ (l + l + l + l) | length }}{% endfor %}"),
            "t.jinja:2: the template needs more than 10 M evaluation steps (limit)");
  EXPECT_THAT(error_of("{% set a = namespace(x=1) %}{% set b = namespace(x=1) %}"
                       "{% for i in range(90) %}{% set a.x = [a.x, a.x] %}"
                       "{% set b.x = [b.x, b.x] %}{% endfor %}{{ a.x == b.x }}"),
              HasSubstr("10 M evaluation steps"));
}

TEST(Limits, OutputNamesItself) {
  const std::string message = "makes a text of more than 64 MB (limit)";
  EXPECT_THAT(error_of("{% for i in range(100) %}{{ 'a' * 1000000 }}{% endfor %}"),
              HasSubstr(message));
  EXPECT_THAT(error_of("{{ 'a' * 99999999999 }}"), HasSubstr(message));
  EXPECT_THAT(error_of("{{ 'a'.rjust(99999999999) }}"), HasSubstr(message));
  EXPECT_THAT(error_of("{{ ('a' * 99999).replace('a', 'a' * 99999) }}"), HasSubstr(message));
  EXPECT_EQ(render("{{ ('a' * 20000000) | length }}"), "20000000");
}

TEST(Limits, DepthNamesItself) {
  const std::string message = "t.jinja:1: the template nests deeper than 200 levels (limit)";
  EXPECT_EQ(error_of("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"), message);
  EXPECT_EQ(error_of("{{ " + repeated("(", 5000) + "1" + repeated(")", 5000) + " }}"), message);
  EXPECT_EQ(error_of("{{ " + repeated("[", 5000) + repeated("]", 5000) + " }}"), message);
  EXPECT_EQ(error_of("{{ 1" + repeated(" + 1", 5000) + " }}"), message);
  EXPECT_EQ(error_of("{{ " + repeated("-", 5000) + "1 }}"), message);
  EXPECT_EQ(error_of("{{ " + repeated("not ", 5000) + "1 }}"), message);
  EXPECT_EQ(error_of(repeated("{% if 1 %}", 5000) + repeated("{% endif %}", 5000)), message);
  EXPECT_EQ(error_of("{% set ns = namespace(x=1) %}{% for i in range(999) %}"
                     "{% set ns.x = [ns.x] %}{% endfor %}"),
            message);
  EXPECT_EQ(error_of("{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}"), message);
  EXPECT_EQ(render("{% macro f(n) %}{% if n %}{{ f(n - 1) }}{% else %}x{% endif %}{% endmacro %}"
                   "{{ f(60) }}"),
            "x");
  EXPECT_EQ(render(repeated("{% if 1 %}", 150) + "x" + repeated("{% endif %}", 150)), "x");
}

TEST(Limits, DeepDataIsRefused) {
  Json deep = 1;
  for (int i = 0; i < 300; ++i) deep = Json::array({deep});
  EXPECT_THAT(error_of("{{ x }}", Json::object({{"x", deep}})), StartsWith("t.jinja: x: "));
}

TEST(Limits, IntegersStayWithin64Bits) {
  const std::string message = "an integer does not fit 64 bits (limit)";
  for (const char* source : {"{{ 9223372036854775807 + 1 }}", "{{ 10 ** 100 }}",
                             "{{ (-9223372036854775807 - 1) // -1 }}", "{{ 3 ** 99999999999 }}",
                             "{{ (-9223372036854775807 - 1) | abs }}"}) {
    EXPECT_THAT(error_of(source), HasSubstr(message)) << source;
  }
  EXPECT_THAT(error_of("{{ 99999999999999999999 }}"), HasSubstr("want an integer of 64 bits"));
  EXPECT_THAT(error_of("{{ x }}", Json::object({{"x", 18446744073709551615ULL}})),
              HasSubstr("x: got 18446744073709551615, want an integer of 64 bits"));
  EXPECT_EQ(render("{{ -9223372036854775807 - 1 }}{{ 'abc'[-9223372036854775807:][::-1] }}"),
            "-9223372036854775808cba");
}

TEST(Errors, PointToTheLine) {
  EXPECT_THAT(error_of("a\n{# x\n y #}\n{{ missing.x }}\n"), StartsWith("t.jinja:4: "));
  EXPECT_THAT(error_of("a\r\nb\r\n{{ 1 + }}"), StartsWith("t.jinja:3: "));
  EXPECT_THAT(error_of("{% if 1 %}\n\n{% for x in [1] %}\n{{ raise_exception('boo') }}\n"
                       "{% endfor %}{% endif %}"),
              StartsWith("t.jinja:4: boo"));
  EXPECT_THAT(error_of("{{ [1,\n2,\n'a' + 1] }}"), StartsWith("t.jinja:3: "));
  EXPECT_THAT(error_of("{% macro m(x) %}\n{{ x.y.z }}\n{% endmacro %}\n\n{{ m({}) }}"),
              StartsWith("t.jinja:2: "));
  EXPECT_THAT(error_of("\n{% if 1 %}\nx"), HasSubstr("t.jinja:2: "));
  EXPECT_THAT(error_of("\n{{ 'a'\n"), HasSubstr("t.jinja:2: `{{` is never closed"));
  EXPECT_THAT(error_of("x\n{{ 'a' | nothing }}"), StartsWith("t.jinja:2: no filter named"));
}

TEST(Errors, NameWhatIsNotSupported) {
  EXPECT_THAT(error_of("{% include 'x' %}"), HasSubstr("statement 'include' is not known here"));
  EXPECT_THAT(error_of("{% call f() %}{% endcall %}"), HasSubstr("statement 'call'"));
  EXPECT_THAT(error_of("{% for x in [] recursive %}{% endfor %}"), HasSubstr("recursive loops"));
  EXPECT_THAT(error_of("{{ dict(*x) }}"), HasSubstr("`*` in a call is not supported"));
  EXPECT_THAT(error_of("{{ 'a'.encode() }}"), HasSubstr("method 'encode' of 'str'"));
  EXPECT_THAT(error_of("{{ '%s' % 1 }}"), HasSubstr("formatting a string with %"));
  EXPECT_THAT(error_of("{{ 'a'.upper }}"), HasSubstr("got the function 'upper'"));
  EXPECT_THAT(error_of("{{ [1] | map('string') }}"), HasSubstr("got an iterator"));
}

}  // namespace
}  // namespace limbic::data

// Chat templates against jinja2: byte for byte, over conversations and options. jinja2's answers
// are the hashes of make_templates.py.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "data/template/chat_template.h"
#include "trainer/base/error.h"
#include "trainer/base/file.h"

namespace limbic::data {
namespace {

const std::string kFolder = std::string(LIMBIC_SOURCE_DIR) + "/tests/parity/text/";

// The section of templates.txt, or the template of the unit tests.
std::string source_of(const std::string& name) {
  static const std::string all = "\n" + read_file(kFolder + "templates.txt");
  const std::string head = "\n<<<< " + name + "\n";
  const std::size_t place = all.find(head);
  if (place == all.npos) {
    return read_file(kFolder + "../../unit/template/golden/templates/" + name + ".jinja");
  }
  const std::size_t start = place + head.size();
  return all.substr(start, all.find("\n<<<< ", start) - start);
}

std::string render(const ChatTemplate& chat_template, const Json& messages, bool prompt,
                   const Json& options) {
  try {
    const Rendered rendered = chat_template.render(messages, prompt, options);
    std::string record = rendered.text + '\0';
    for (const auto& [first, last] : rendered.generation_spans) {
      record += fmt::format("{}-{},", first, last);
    }
    return record;
  } catch (const DataError&) {
    return "error";
  }
}

TEST(TemplateParity, TextsAndSpans) {
  const Json golden = Json::parse(read_file(kFolder + "golden/templates.json"));
  EXPECT_GE(golden["cases"].size(), 40u);
  EXPECT_GE(golden["conversations"].size(), 30u);
  for (const auto& [name, hashes] : golden["cases"].items()) {
    const ChatTemplate chat_template =
        ChatTemplate::parse(source_of(name), name, golden["variables"]);
    for (const auto& [conversation, hash] : hashes.items()) {
      std::string record;
      for (const Json& options : golden["options"]) {
        for (const bool prompt : {false, true}) {
          record += render(chat_template, golden["conversations"][conversation], prompt, options);
          record += '\0';
        }
      }
      EXPECT_EQ(sha256(record).substr(0, 12), hash.get<std::string>())
          << name << " " << conversation << "\n"
          << record;
    }
  }
}

}  // namespace
}  // namespace limbic::data

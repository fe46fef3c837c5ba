#include "data/json_row.h"

#include <algorithm>

#include "trainer/base/error.h"
#include "trainer/base/fields.h"

namespace limbic::data {
namespace {

constexpr std::string_view kWhiteSpace = " \t\r\n";

// Finds the ends of JSON values. The text is known to be valid, so strings and brackets are all
// that has to be understood.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  std::size_t position() const { return at_; }
  char peek() {
    at_ = std::min(text_.find_first_not_of(kWhiteSpace, at_), text_.size());
    check(at_ < text_.size(), "raw JSON members need a valid object");
    return text_[at_];
  }
  void expect(char wanted) {
    check(peek() == wanted, "raw JSON members need a valid object");
    ++at_;
  }
  std::string_view value() {
    const char first = peek();
    const std::size_t start = at_;
    if (first == '"') {
      skip_string();
    } else if (first == '{' || first == '[') {
      skip_nested();
    } else {
      at_ = std::min(text_.find_first_of(" \t\r\n,]}", at_), text_.size());
    }
    return text_.substr(start, at_ - start);
  }

 private:
  void skip_string() {
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (text_[at_] == '\\') ++at_;
    }
    check(at_ < text_.size(), "raw JSON members need a valid object");
    ++at_;
  }
  void skip_nested() {
    std::size_t depth = 0;
    do {
      const char c = peek();
      if (c == '"') {
        skip_string();
        continue;
      }
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') --depth;
      ++at_;
    } while (depth > 0);
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

std::vector<RawMember> raw_members(std::string_view object_text) {
  std::vector<RawMember> members;
  Scanner scanner(object_text);
  scanner.expect('{');
  while (scanner.peek() != '}') {
    if (!members.empty()) scanner.expect(',');
    std::string key = Json::parse(scanner.value()).get<std::string>();
    scanner.expect(':');
    members.push_back({std::move(key), scanner.value()});
  }
  return members;
}

std::string with_fields(std::string_view object_text,
                        const std::vector<std::pair<std::string, std::string>>& fields) {
  const std::size_t open = object_text.find('{');
  const std::size_t close = object_text.rfind('}');
  check(open != object_text.npos && close != object_text.npos, "with_fields needs an object");
  const std::vector<RawMember> members = raw_members(object_text);

  std::string out;
  std::size_t copied = open;
  std::vector<bool> written(fields.size(), false);
  for (const RawMember& member : members) {
    const auto start = static_cast<std::size_t>(member.value.data() - object_text.data());
    const auto same_key = [&](const auto& field) { return field.first == member.key; };
    const auto found = std::find_if(fields.begin(), fields.end(), same_key);
    out += object_text.substr(copied, start - copied);
    out += found == fields.end() ? member.value : std::string_view(found->second);
    copied = start + member.value.size();
    if (found != fields.end()) written[static_cast<std::size_t>(found - fields.begin())] = true;
  }
  if (members.empty()) {
    out += '{';
    copied = open + 1;
  }
  bool first = members.empty();
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (written[i]) continue;
    if (!first) out += ", ";
    out += Json(fields[i].first).dump() + ": " + fields[i].second;
    first = false;
  }
  out += object_text.substr(copied, close + 1 - copied);
  return out;
}

}  // namespace limbic::data

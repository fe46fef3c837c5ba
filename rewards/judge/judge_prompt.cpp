#include "rewards/judge/judge_prompt.h"

#include <fmt/format.h>
#include <unicode/uchar.h>

#include "data/tokenizer/utf8.h"
#include "rewards/text.h"
#include "trainer/base/error.h"
#include "trainer/base/file.h"

namespace limbic::rewards {
namespace {

bool is_unseen(char32_t c) {
  if (c >= 0xE0100 && c <= 0xE01EF) return true;  // variation selectors, can carry hidden text
  switch (u_charType(static_cast<UChar32>(c))) {
    case U_FORMAT_CHAR:
    case U_PRIVATE_USE_CHAR:
    case U_UNASSIGNED:
    case U_CONTROL_CHAR:
    case U_LINE_SEPARATOR:
    case U_PARAGRAPH_SEPARATOR:
      return true;
    default:
      return false;
  }
}

void append_escaped(std::string& out, char32_t c) {
  if (c < 0x10000) {
    out += fmt::format("\\u{:04x}", static_cast<std::uint32_t>(c));
    return;
  }
  const auto offset = static_cast<std::uint32_t>(c) - 0x10000;
  out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (offset >> 10), 0xDC00 + (offset & 0x3FF));
}

// Escapes more than JSON asks for, inside the strings of a well-formed JSON text.
std::string harmless(const std::string& json) {
  std::string out;
  out.reserve(json.size() + json.size() / 8);
  bool inside = false;
  for (std::size_t at = 0; at < json.size();) {
    const std::size_t begin = at;
    const char32_t c = data::next_code_point(json, at);
    if (c == '"') inside = !inside;
    if (inside && c == '\\') {  // an escape is two bytes or more; the second decides nothing here
      out.append(json, begin, 2);
      at = begin + 2;
    } else if (inside && (c == '<' || c == '[' || is_unseen(c))) {
      append_escaped(out, c);
    } else {
      out.append(json, begin, at - begin);
    }
  }
  return out;
}

std::string begin_line(const Nonce& nonce) { return "DATA-" + nonce.delimiter; }
std::string end_line(const Nonce& nonce) { return "END-" + nonce.delimiter; }

std::string data_lines(const std::string& record, const Nonce& nonce) {
  return begin_line(nonce) + "\n" + record + "\n" + end_line(nonce);
}

Json item_variables(const Rubric& rubric) {
  Json items = Json::array();
  for (const RubricItem& item : rubric.items()) {
    Json anchors = Json::array();
    for (const auto& [value, meaning] : item.anchors) {
      anchors.push_back({{"value", value}, {"meaning", meaning}});
    }
    items.push_back({{"name", item.name},
                     {"question", item.question},
                     {"is_axis", item.kind == RubricItem::Kind::kAxis},
                     {"anchors", anchors}});
  }
  return items;
}

data::ChatTemplate parse_template(const Rubric& rubric, const std::string& where) {
  try {
    return data::ChatTemplate::parse(rubric.prompt(), "prompt", Json::object());
  } catch (const DataError& error) {
    throw ConfigError(fmt::format("{}: {}", where, error.what()));
  }
}

}  // namespace

std::string judge_record(std::string_view answer, const Json& conversation,
                         const std::map<std::string, std::string>& columns) {
  Json record = Json::object();
  Json turns = Json::array();
  for (const Json& message : conversation) {
    if (!message.is_object()) continue;
    Json turn = Json::object();
    for (const char* key : {"role", "content"}) {
      const auto found = message.find(key);
      if (found != message.end()) turn[key] = *found;
    }
    turns.push_back(std::move(turn));
  }
  if (!turns.empty()) record["conversation"] = std::move(turns);
  for (const auto& [name, text] : columns) record[name] = text;
  record["answer"] = std::string(answer);
  return harmless(record.dump(-1, ' ', false, Json::error_handler_t::replace));
}

Nonce make_nonce(std::uint64_t seed, std::string_view question_hash, std::int64_t vote,
                 std::int64_t attempt) {
  const std::string digest =
      sha256(fmt::format("nonce\n{}\n{}\n{}\n{}", seed, question_hash, vote, attempt));
  return {digest.substr(0, 16), digest.substr(16, 8)};
}

JudgePrompt::JudgePrompt(const Rubric& rubric, const std::string& where)
    : variables_({{"about", rubric.about()},
                  {"lowest", rubric.lowest()},
                  {"highest", rubric.highest()},
                  {"items", item_variables(rubric)}}),
      template_(parse_template(rubric, where)) {
  const Nonce nonce{"0123456789abcdef", "fedcba98"};
  const std::string record = judge_record("?", Json::array(), {});
  std::string text;
  try {
    text = render(record, nonce);
  } catch (const DataError& error) {
    throw ConfigError(fmt::format("{}: {}", where, error.what()));
  }
  const auto want_once = [&](const std::string& what, const char* name) {
    const std::size_t count = count_of(text, what);
    if (count == 1) return;
    throw ConfigError(
        fmt::format("{}: prompt: got {{{{ {} }}}} {} times, want it once", where, name, count));
  };
  const std::string data = data_lines(record, nonce);
  want_once(data, "data");
  if (text.find("\n" + data + "\n") == std::string::npos) {
    throw ConfigError(fmt::format(
        "{}: prompt: got {{{{ data }}}} inside a line, want it on lines of its own", where));
  }
  want_once(nonce.ticket, "ticket");
}

std::string JudgePrompt::render(const std::string& record, const Nonce& nonce) const {
  Json variables = variables_;
  variables["begin"] = begin_line(nonce);
  variables["end"] = end_line(nonce);
  variables["data"] = data_lines(record, nonce);
  variables["ticket"] = nonce.ticket;
  return template_.render(Json::array(), false, variables).text;
}

}  // namespace limbic::rewards

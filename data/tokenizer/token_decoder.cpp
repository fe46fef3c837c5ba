#include "data/tokenizer/token_decoder.h"

#include <algorithm>
#include <cctype>

#include "data/tokenizer/aligned_text.h"
#include "data/tokenizer/bpe/byte_level.h"
#include "data/tokenizer/utf8.h"

namespace limbic::data {
namespace {

std::string join(const std::vector<std::string>& parts, std::string_view between) {
  std::string whole;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) whole += between;
    whole += parts[i];
  }
  return whole;
}

// The byte of `<0x41>`, or -1.
int fallback_byte(const std::string& token) {
  if (token.size() != 6 || token.compare(0, 3, "<0x") != 0 || token[5] != '>') return -1;
  const auto is_hex = [](char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; };
  if (!is_hex(token[3]) || !is_hex(token[4])) return -1;
  return std::stoi(token.substr(3, 2), nullptr, 16);
}

// Runs of byte tokens become characters, or one U+FFFD per byte when they do not form any.
void join_bytes(std::vector<std::string>& tokens) {
  std::vector<std::string> out;
  std::string bytes;
  const auto flush = [&] {
    if (bytes.empty()) return;
    if (find_invalid_utf8(bytes) == std::string::npos) {
      out.push_back(bytes);
    } else {
      out.insert(out.end(), bytes.size(), "\xEF\xBF\xBD");
    }
    bytes.clear();
  };
  for (std::string& token : tokens) {
    const int byte = fallback_byte(token);
    if (byte >= 0) {
      bytes += static_cast<char>(byte);
      continue;
    }
    flush();
    out.push_back(std::move(token));
  }
  flush();
  tokens = std::move(out);
}

void strip(std::string& token, const std::string& content, std::int64_t start, std::int64_t stop) {
  std::size_t begin = 0, end = token.size();
  for (std::int64_t i = 0; i < start && token.compare(begin, content.size(), content) == 0; ++i) {
    begin += content.size();
  }
  for (std::int64_t i = 0; i < stop && end >= begin + content.size(); ++i) {
    if (token.compare(end - content.size(), content.size(), content) != 0) break;
    end -= content.size();
  }
  token = token.substr(begin, end - begin);
}

// Marks become spaces; those of the first token were put in.
void unmark_spaces(const Metaspace& spaces, std::vector<std::string>& tokens) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const bool put_in = i == 0 && spaces.prepend != Metaspace::Prepend::kNever;
    std::string out;
    std::size_t done = 0;
    for (std::size_t at = tokens[i].find(spaces.mark); at != std::string::npos;
         at = tokens[i].find(spaces.mark, done)) {
      out += tokens[i].substr(done, at - done);
      if (!put_in) out += ' ';
      done = at + spaces.mark.size();
    }
    tokens[i] = out + tokens[i].substr(done);
  }
}

// In tokens of at most `limit` bytes together.
void replace(std::vector<std::string>& tokens, const Regex& pattern, const std::string& content,
             std::size_t limit) {
  RegexWorkspace workspace;
  std::size_t size = 0;
  for (std::string& token : tokens) {
    RegexMatches matches(pattern, token, workspace);
    std::string out;
    std::size_t done = 0;
    while (matches.next()) {
      out += token.substr(done, matches.begin() - done) + content;
      done = matches.end();
      if (size + out.size() > limit) refuse_growth(limit);
    }
    token = out + token.substr(done);
    size += token.size();
  }
}

}  // namespace

std::string bytes_of_token(const std::string& spelling) {
  return byte_level_bytes(spelling).value_or(spelling);
}

TokenDecoder TokenDecoder::parse(const Part& part) {
  TokenDecoder decoder;
  decoder.join_with_spaces_ = part.is_null();
  if (!part.is_null()) decoder.add(part);
  return decoder;
}

void TokenDecoder::add(const Part& part) {
  const std::string type = part["type"].text();
  if (type == "Sequence") {
    for (const Part& item : part["decoders"].items()) add(item);
  } else if (type == "ByteLevel") {
    steps_.push_back(ByteLevel{});
  } else if (type == "ByteFallback") {
    steps_.push_back(ByteFallback{});
  } else if (type == "Fuse") {
    steps_.push_back(Fuse{});
  } else if (type == "Replace") {
    const Part pattern = part["pattern"];
    const bool is_regex = !pattern["Regex"].is_null();
    const std::string text = pattern[is_regex ? "Regex" : "String"].text();
    steps_.push_back(
        Replace{is_regex ? Regex(text, pattern.where()) : Regex::literal(text, pattern.where()),
                part["content"].text()});
  } else if (type == "Strip") {
    const std::string content = part["content"].text();
    if (content.empty()) part.fail("got empty content, want a character");
    steps_.push_back(Strip{content, part["start"].number(), part["stop"].number()});
  } else if (type == "Metaspace") {
    steps_.push_back(Metaspace::parse(part));
  } else {
    part.fail(
        fmt::format("got type {}, want ByteLevel, Sequence, Replace, ByteFallback, Fuse, "
                    "Strip or Metaspace",
                    type));
  }
}

bool TokenDecoder::is_byte_level() const {
  return steps_.size() == 1 && std::holds_alternative<ByteLevel>(steps_[0]);
}

bool TokenDecoder::waits_for_more(const std::string& last) const {
  return std::any_of(steps_.begin(), steps_.end(), [&](const Step& step) {
    const auto* sides = std::get_if<Strip>(&step);
    if (sides) return sides->stop > 0;
    return std::holds_alternative<ByteFallback>(step) && fallback_byte(last) >= 0;
  });
}

void TokenDecoder::run(const Step& step, std::vector<std::string>& tokens, std::size_t limit) {
  if (std::holds_alternative<ByteLevel>(step)) {
    std::string bytes;
    for (const std::string& token : tokens) bytes += bytes_of_token(token);
    tokens.assign(1, repair_utf8(bytes));
  } else if (std::holds_alternative<ByteFallback>(step)) {
    join_bytes(tokens);
  } else if (std::holds_alternative<Fuse>(step)) {
    tokens.assign(1, join(tokens, ""));
  } else if (const auto* rule = std::get_if<Replace>(&step)) {
    replace(tokens, rule->pattern, rule->content, limit);
  } else if (const auto* spaces = std::get_if<Metaspace>(&step)) {
    unmark_spaces(*spaces, tokens);
  } else {
    const auto& sides = std::get<Strip>(step);
    for (std::string& token : tokens) strip(token, sides.content, sides.start, sides.stop);
  }
}

std::string TokenDecoder::decode(std::vector<std::string> spellings) const {
  if (join_with_spaces_) return join(spellings, " ");
  std::size_t bytes = 0;
  for (const std::string& spelling : spellings) bytes += spelling.size();
  for (const Step& step : steps_) run(step, spellings, most_bytes_of(bytes));
  return join(spellings, "");
}

}  // namespace limbic::data

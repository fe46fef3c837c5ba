#include "data/json_lines.h"

#include <fmt/format.h>

#include <cstring>

#include "data/tokenizer/utf8.h"
#include "trainer/base/error.h"
#include "trainer/base/json_file.h"

namespace limbic::data {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{256} << 10;
constexpr std::size_t kMaxReasonBytes = 200;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr std::string_view kWhiteSpace = " \t\r\n";

// Walks over one JSON text without building it; holds the reason when it is refused.
class Validator : public nlohmann::json_sax<Json> {
 public:
  std::string reason;

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool key(string_t&) override { return true; }
  bool start_object(std::size_t) override { return deeper(); }
  bool end_object() override { return shallower(); }
  bool start_array(std::size_t) override { return deeper(); }
  bool end_array() override { return shallower(); }

  bool parse_error(std::size_t, const std::string&,
                   const nlohmann::detail::exception& error) override {
    const std::string problem = parse_problem(error);
    std::string_view text = problem;
    if (const std::string_view line = "line 1, "; text.starts_with(line)) {
      text.remove_prefix(line.size());
    }
    if (text.size() > kMaxReasonBytes) {
      text = text.substr(0, complete_utf8_prefix(text.substr(0, kMaxReasonBytes)));
    }
    reason = text;
    return false;
  }

 private:
  bool deeper() {
    if (++depth_ <= JsonLines::kMaxDepth) return true;
    reason = fmt::format("nesting deeper than {}", JsonLines::kMaxDepth);
    return false;
  }
  bool shallower() {
    --depth_;
    return true;
  }
  std::int64_t depth_ = 0;
};

// Empty when `text` is one JSON object in well-formed UTF-8.
std::string what_is_wrong(std::string_view text) {
  if (const std::size_t bad = find_invalid_utf8(text); bad != std::string_view::npos) {
    return fmt::format("got invalid UTF-8 (byte 0x{:02x} at byte {} of the line), want UTF-8",
                       static_cast<unsigned char>(text[bad]), bad + 1);
  }
  Validator validator;
  if (!Json::sax_parse(text, &validator)) {
    return fmt::format("got invalid JSON ({}), want one object per line", validator.reason);
  }
  const char first = text[text.find_first_not_of(kWhiteSpace)];
  if (first == '{') return "";
  return fmt::format("got {}, want one object per line", first == '['   ? "a list"
                                                         : first == '"' ? "a string"
                                                                        : "a single value");
}

}  // namespace

JsonLines::JsonLines(std::string path)
    : path_(std::move(path)), source_(open_bytes(path_)), buffer_(kBufferBytes, '\0') {}

bool JsonLines::refill() {
  begin_ = end_ = 0;
  try {
    end_ = source_->read(buffer_);
  } catch (const DataError& error) {
    finished_ = true;
    throw DataError(fmt::format("{}:{}: {}", path_, number_, error.what()));
  }
  return end_ > 0;
}

bool JsonLines::read_line(std::string& text) {
  text.clear();
  if (finished_) return false;
  ++number_;
  while (true) {
    if (begin_ == end_ && !refill()) {
      finished_ = true;
      return !text.empty();
    }
    const char* start = buffer_.data() + begin_;
    const auto* stop = static_cast<const char*>(std::memchr(start, '\n', end_ - begin_));
    const std::size_t count = stop ? static_cast<std::size_t>(stop - start) : end_ - begin_;
    text.append(start, count);
    begin_ += stop ? count + 1 : count;
    if (text.size() > kMaxLineBytes) {
      finished_ = true;
      throw DataError(fmt::format("{}:{}: got a line of more than {} bytes, want shorter lines",
                                  path_, number_, kMaxLineBytes));
    }
    if (stop) return true;
  }
}

std::optional<Line> JsonLines::next() {
  Line line;
  while (read_line(line.text)) {
    if (number_ == 1 && line.text.starts_with(kByteOrderMark)) {
      line.text.erase(0, kByteOrderMark.size());
    }
    if (line.text.ends_with('\r')) line.text.pop_back();
    if (line.text.find_first_not_of(kWhiteSpace) == std::string::npos) continue;
    line.number = number_;
    const std::string wrong = what_is_wrong(line.text);
    if (!wrong.empty()) throw DataError(fmt::format("{}:{}: {}", path_, number_, wrong));
    return line;
  }
  return std::nullopt;
}

}  // namespace limbic::data

#define PCRE2_CODE_UNIT_WIDTH 8
#include "data/tokenizer/regex.h"

#include <fmt/format.h>
#include <pcre2.h>

#include <new>

#include "data/tokenizer/unicode/newer_characters.h"
#include "data/tokenizer/utf8.h"
#include "trainer/base/error.h"

namespace limbic::data {
namespace {

constexpr std::size_t kFirstStack = 32 * 1024;
constexpr std::size_t kLargestStack = 64 * 1024 * 1024;

std::string message_of(int code) {
  PCRE2_UCHAR buffer[256] = {};
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

RegexWorkspace::RegexWorkspace()
    : data_(pcre2_match_data_create(1, nullptr)),
      context_(pcre2_match_context_create(nullptr)),
      stack_(pcre2_jit_stack_create(kFirstStack, kLargestStack, nullptr)) {
  if (!data_ || !context_ || !stack_) throw std::bad_alloc();
  pcre2_jit_stack_assign(context_, nullptr, stack_);
}

RegexWorkspace::~RegexWorkspace() {
  pcre2_match_data_free(data_);
  pcre2_match_context_free(context_);
  pcre2_jit_stack_free(stack_);
}

Regex::Regex(std::string_view pattern, const std::string& where)
    : Regex(Compiled{}, rewrite_pattern(pattern, where), where, true) {}

Regex Regex::literal(std::string_view text, const std::string& where) {
  std::string quoted;
  for (const char c : text) {
    if (std::string_view("\\^$.[]|()?*+{}-#&~ ").find(c) != std::string_view::npos) quoted += '\\';
    quoted += c;
  }
  return Regex(Compiled{}, quoted, where, false);
}

Regex::Regex(Compiled, const std::string& pcre, const std::string& where, bool has_classes)
    : code_(nullptr, [](pcre2_real_code_8* code) { pcre2_code_free(code); }),
      has_classes_(has_classes) {
  const std::unique_ptr<pcre2_compile_context, void (*)(pcre2_compile_context*)> context(
      pcre2_compile_context_create(nullptr),
      [](pcre2_compile_context* c) { pcre2_compile_context_free(c); });
  if (!context) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pcre.data()), pcre.size(),
                            PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                            &error, &offset, context.get()));
  if (!code_) {
    throw DataError(fmt::format("{}: got a pattern that does not compile ({} at byte {} of {})",
                                where, message_of(error), offset, pcre));
  }
  // Without a just-in-time compiler for this processor the interpreter serves, only slower.
  pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
}

RegexMatches::RegexMatches(const Regex& regex, std::string_view text, RegexWorkspace& workspace)
    : regex_(regex), text_(text), workspace_(workspace) {
  if (!regex.has_classes_ || !has_newer_characters(text)) return;
  write_stand_ins(text, workspace.stand_ins_);
  text_ = workspace.stand_ins_;
}

bool RegexMatches::next() {
  while (from_ <= text_.size()) {
    const int found =
        pcre2_match(regex_.code_.get(), reinterpret_cast<PCRE2_SPTR>(text_.data()), text_.size(),
                    from_, PCRE2_NO_UTF_CHECK, workspace_.data_, workspace_.context_);
    if (found == PCRE2_ERROR_NOMATCH) return false;
    if (found < 0) {
      throw DataError(fmt::format("tokenizer: a pattern gave up on a text of {} bytes: {}",
                                  text_.size(), message_of(found)));
    }
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(workspace_.data_);
    if (range[0] == range[1] && matched_ && range[0] == end_) {
      std::size_t after = from_;
      if (after < text_.size()) next_code_point(text_, after);
      from_ = after == from_ ? from_ + 1 : after;
      continue;
    }
    begin_ = range[0];
    end_ = from_ = range[1];
    matched_ = true;
    return true;
  }
  return false;
}

}  // namespace limbic::data

// What a judge reads: one message with the rubric and, as data, the completion.
//
// The completion is not to be trusted: it was written by a policy that is paid for high marks. So
// it stands as a string field inside one line of JSON, between two lines that it cannot know. In
// that line every character that could mean something outside the string is escaped: `<` and `[`
// of control tokens (`<|im_end|>`, `[INST]`), line breaks, and characters that are not seen (bidi
// marks, zero-width, tag and private-use characters). Instructions stand behind the data.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "data/template/chat_template.h"
#include "rewards/judge/rubric.h"

namespace limbic::rewards {

// The data as one line of JSON that reads back to the same values: {"conversation": [{role,
// content}], COLUMN: text, ..., "answer": text}. Without a conversation when it is empty.
// Ill-formed UTF-8 becomes U+FFFD.
std::string judge_record(std::string_view answer, const Json& conversation,
                         const std::map<std::string, std::string>& columns);

// What only the judge is told, per request: what the delimiters end with, and the ticket that a
// reply has to show. A hash of all that the question is made of, so a text that holds its own
// nonce cannot be found.
struct Nonce {
  std::string delimiter;  // 16 hexadecimal digits
  std::string ticket;     // 8
};
Nonce make_nonce(std::uint64_t seed, std::string_view question_hash, std::int64_t vote,
                 std::int64_t attempt);

class JudgePrompt {
 public:
  // Throws ConfigError that begins with `where`: the rubric's template is no Jinja, or leaves out
  // the record, a delimiter or the ticket.
  JudgePrompt(const Rubric& rubric, const std::string& where);

  // Throws DataError when the template itself raises.
  std::string render(const std::string& record, const Nonce& nonce) const;

 private:
  Json variables_;
  data::ChatTemplate template_;
};

}  // namespace limbic::rewards

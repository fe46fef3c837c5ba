#include "rl/dpo/preference_rows.h"

#include <algorithm>
#include <optional>

#include "data/row.h"
#include "data/template/chat_encoder.h"
#include "trainer/base/error.h"
#include "trainer/engine/row_work.h"

namespace limbic::rl {
namespace {

Json reply_of(const data::Row& row, const char* column) {
  const Json& value = data::want_column(row, column, "a reply: a string or a list of messages");
  if (value.is_string()) return Json::array({{{"role", "assistant"}, {"content", value}}});
  bool answers = value.is_array();
  for (const Json& turn : value) answers = answers && turn.is_object() && turn.contains("role");
  if (!answers || value.empty()) {
    data::fail_row(row, fmt::format("got {} in column '{}', want a string or a list of messages",
                                    data::in_words(value), column));
  }
  return value;
}

// A column may hold the whole conversation: the reply is what stands behind the prompt.
Json without_prompt(const Json& turns, const Json& prompt) {
  for (std::size_t skipped = 0; skipped < 2; ++skipped) {  // the system message may be the config's
    if (skipped == 1 && prompt[0].value("role", "") != "system") break;
    const std::size_t length = prompt.size() - skipped;
    bool same = length > 0 && turns.size() > length;
    for (std::size_t i = 0; same && i < length; ++i) same = turns[i] == prompt[i + skipped];
    if (!same) continue;
    Json reply = Json::array();
    for (std::size_t i = length; i < turns.size(); ++i) reply.push_back(turns[i]);
    return reply;
  }
  return turns;
}

std::int64_t assistant_turns(const Json& messages) {
  return std::count_if(messages.begin(), messages.end(),
                       [](const Json& turn) { return turn["role"] == "assistant"; });
}

// Keeps the last `runs` runs of ones: the turns of the reply, not those of the prompt.
void keep_last_runs(std::vector<std::uint8_t>& mask, std::int64_t runs) {
  std::size_t at = mask.size();
  while (at > 0 && runs > 0) {
    --at;
    const bool begins = mask[at] == 1 && (at == 0 || mask[at - 1] == 0);
    runs -= begins ? 1 : 0;
  }
  std::fill(mask.begin(), mask.begin() + static_cast<std::ptrdiff_t>(at), std::uint8_t{0});
}

data::Example encode_answered(const engine::RunContext& context, const data::Row& row,
                              const Json& prompt, const char* column) {
  const Json reply = without_prompt(reply_of(row, column), prompt);
  const std::int64_t turns = assistant_turns(reply);
  if (turns == 0) data::fail_row(row, "got a reply without an assistant's turn, want one");
  Json messages = prompt;
  for (const Json& turn : reply) messages.push_back(turn);
  data::EncodedChat chat =
      data::encode_chat(context.tokenizer, context.chat_template, messages, false,
                        engine::template_variables(context.template_variables, row));
  data::Example example{.ids = std::move(chat.ids), .loss_mask = std::move(chat.assistant_mask)};
  if (!example.loss_mask.empty()) example.loss_mask[0] = 0;
  keep_last_runs(example.loss_mask, turns);
  return example;
}

std::size_t first_target(const data::Example& example) {
  return static_cast<std::size_t>(std::find(example.loss_mask.begin(), example.loss_mask.end(), 1) -
                                  example.loss_mask.begin());
}

void cut(data::Example& example, std::size_t begin, std::size_t end) {
  const auto from = static_cast<std::ptrdiff_t>(begin);
  const auto to = static_cast<std::ptrdiff_t>(std::min(end, example.ids.size()));
  example.ids = {example.ids.begin() + from, example.ids.begin() + to};
  example.loss_mask = {example.loss_mask.begin() + from, example.loss_mask.begin() + to};
}

// False: the pair is left out.
bool fit(data::Example& chosen, data::Example& rejected, engine::LengthRule rule,
         const data::Row& row) {
  const auto limit = static_cast<std::size_t>(rule.limit);
  const std::size_t longest = std::max(chosen.ids.size(), rejected.ids.size());
  if (longest <= limit) return true;
  switch (rule.overlong) {
    case engine::Overlong::kError:
      data::fail_row(row, fmt::format("got {} tokens, want at most max_length {}; raise max_length "
                                      "or set overlong: drop, truncate_left or truncate_right",
                                      longest, limit));
    case engine::Overlong::kDrop:
      return false;
    case engine::Overlong::kTruncateLeft: {
      const std::size_t prompt = std::min(first_target(chosen), first_target(rejected));
      const std::size_t over = longest - limit;
      if (over >= prompt) return false;  // the replies keep a token to be predicted from
      cut(chosen, over, chosen.ids.size());
      cut(rejected, over, rejected.ids.size());
      return true;
    }
    case engine::Overlong::kTruncateRight:
      cut(chosen, 0, limit);
      cut(rejected, 0, limit);
      return first_target(chosen) < chosen.ids.size() &&
             first_target(rejected) < rejected.ids.size();
  }
  return false;
}

PreferencePair pair_of(data::Example chosen, data::Example rejected, std::int64_t index) {
  const std::size_t most = std::min(first_target(chosen), first_target(rejected));
  std::size_t common = 0;
  while (common < most && chosen.ids[common] == rejected.ids[common]) ++common;
  check(common > 0, "conversations begin alike");
  PreferencePair pair;
  pair.family.first = chosen;
  pair.family.first.row = index;
  cut(pair.family.first, 0, common);
  for (data::Example* reply : {&chosen, &rejected}) {
    cut(*reply, common, reply->ids.size());
    pair.family.rest.push_back(*reply);
  }
  const auto targets = [](const data::Example& reply) {
    return std::count(reply.loss_mask.begin(), reply.loss_mask.end(), 1);
  };
  pair.chosen_targets = targets(pair.family.rest[0]);
  pair.rejected_targets = targets(pair.family.rest[1]);
  return pair;
}

}  // namespace

std::int64_t PreferencePair::tokens() const {
  return static_cast<std::int64_t>(family.first.ids.size() + family.rest[0].ids.size() +
                                   family.rest[1].ids.size());
}

std::vector<PreferencePair> encode_pairs(const engine::RunContext& context,
                                         const data::Mixture& rows, engine::LengthRule rule) {
  std::vector<std::optional<PreferencePair>> encoded(static_cast<std::size_t>(rows.size()));
  engine::for_every_row(rows.size(), [&](std::int64_t i) {
    const data::Row row = rows.row(i);
    engine::with_place(rows, i, [&] {
      const Json prompt = rows.messages(i, false);
      if (prompt.is_string()) data::fail_row(row, "got plain text, want a prompt to answer");
      data::Example chosen = encode_answered(context, row, prompt, "chosen");
      data::Example rejected = encode_answered(context, row, prompt, "rejected");
      if (first_target(chosen) == chosen.ids.size() ||
          first_target(rejected) == rejected.ids.size()) {
        data::fail_row(row, "got no token to learn, want an assistant's turn");
      }
      if (!fit(chosen, rejected, rule, row)) return;
      encoded[static_cast<std::size_t>(i)] = pair_of(std::move(chosen), std::move(rejected), i);
    });
  });
  std::vector<PreferencePair> kept;
  for (auto& pair : encoded) {
    if (pair) kept.push_back(std::move(*pair));
  }
  engine::report_drops(context, rows.size() - static_cast<std::int64_t>(kept.size()), rows.size(),
                       rule.limit);
  return kept;
}

}  // namespace limbic::rl

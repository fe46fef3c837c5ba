#include "data/template/turn_finder.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "data/template/jinja/text.h"
#include "trainer/base/error.h"

namespace limbic::data {
namespace {

bool is_blank(std::string_view text) { return jinja::strip(text).empty(); }

bool is_assistant(const Json& message) {
  return message.is_object() && message.value("role", Json()) == "assistant";
}

std::size_t common_prefix(std::string_view a, std::string_view b) {
  return static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first -
                                  a.begin());
}

std::size_t common_suffix(std::string_view a, std::string_view b) {
  return static_cast<std::size_t>(std::mismatch(a.rbegin(), a.rend(), b.rbegin(), b.rend()).first -
                                  a.rbegin());
}

constexpr std::string_view kControls = "\1\2\3\4\5\6\7";
constexpr std::string_view kLetters = "ZQXJKVWYzqxjkvwyABCDEFGHILMNOPRSTUabcdefghilmnoprstu";

// Finds the turns one after the other, from the left.
class TurnFinder {
 public:
  TurnFinder(const ChatTemplate& chat_template, const Json& messages, bool add_generation_prompt,
             const Json& variables, const std::string& text, const std::vector<Span>& special)
      : template_(chat_template),
        messages_(messages),
        add_generation_prompt_(add_generation_prompt),
        variables_(variables),
        text_(text),
        special_(special) {}

  std::vector<Span> run() {
    std::vector<Span> turns;
    for (std::size_t i = 0; i < messages_.size(); ++i) {
      if (!is_assistant(messages_[i])) continue;
      std::optional<Span> turn = by_prefix(i);
      if (!turn) turn = by_content(i);
      if (!turn) turn = by_last_turn(i);
      if (!turn) {
        throw NoTurnError(fmt::format(
            "{}: messages[{}]: cannot tell where the assistant's turn stands in the text; put "
            "{{% generation %}} blocks into the template",
            template_.name(), i));
      }
      behind_ = turn->second;
      turns.push_back(*turn);
    }
    return turns;
  }

 private:
  // Nothing when the template refuses these messages: cut off or changed, they may break its rules.
  std::optional<std::string> try_render(const Json& messages, bool add_generation_prompt) const {
    try {
      return template_.render(messages, add_generation_prompt, variables_).text;
    } catch (const DataError&) {
      return std::nullopt;
    }
  }

  Json first_messages(std::size_t count) const {
    Json some = Json::array();
    for (std::size_t i = 0; i < count; ++i) some.push_back(messages_[i]);
    return some;
  }

  // The end behind the first run of special tokens side by side that has only white space and
  // special tokens between it and `end`; nothing when other text stands last.
  std::optional<std::size_t> cut_behind_end_of_turn(std::size_t start, std::size_t end) const {
    std::size_t left = end;  // everything from here is white space and special tokens
    std::optional<std::size_t> cut;
    for (auto token = special_.rbegin(); token != special_.rend(); ++token) {
      if (token->second > end || token->first < start) continue;
      const std::string_view between(text_.data() + token->second, left - token->second);
      if (!is_blank(between)) break;
      if (!cut || !between.empty()) cut = token->second;
      left = token->first;
    }
    return cut;
  }

  std::optional<Span> by_prefix(std::size_t i) {
    const std::optional<std::string> prompt = try_render(first_messages(i), true);
    if (!prompt) return std::nullopt;
    const std::optional<std::string> turn = try_render(first_messages(i + 1), false);
    if (!turn || !turn->starts_with(*prompt)) return std::nullopt;
    const std::size_t start = prompt->size(), shared = common_prefix(*turn, text_);
    if (start < behind_ || shared < start) return std::nullopt;
    if (!is_blank(std::string_view(*turn).substr(shared))) return std::nullopt;
    if (const auto end = cut_behind_end_of_turn(start, shared)) return Span{start, *end};
    // Without end-of-turn tokens the whole of it is the turn.
    const bool whole = shared == turn->size() && shared > start;
    return whole ? std::optional(Span{start, shared}) : std::nullopt;
  }

  // Where the turn as it reads when it is the last one stands in the text: its tool calls, with
  // other names, tell the place.
  std::optional<Span> by_last_turn(std::size_t i) const {
    const std::optional<char> mark = free_mark(kLetters);  // JSON writes them as they are
    const std::optional<Json> renamed = mark ? renamed_calls(i, *mark) : std::nullopt;
    if (!renamed) return std::nullopt;
    const std::optional<std::string> prompt = try_render(first_messages(i), true);
    const std::optional<std::string> last = try_render(first_messages(i + 1), false);
    if (!prompt || !last || !last->starts_with(*prompt)) return std::nullopt;
    Json messages = first_messages(i);
    messages.push_back(*renamed);
    const std::optional<std::string> other_last = try_render(messages, false);
    messages = messages_;
    messages[i] = *renamed;
    const std::optional<std::string> other = try_render(messages, add_generation_prompt_);
    if (!other_last || !other || other->find(*mark) == std::string::npos) return std::nullopt;
    const std::size_t named = common_prefix(*last, *other_last);
    const std::size_t before = named - std::min(named, prompt->size());
    const std::size_t place = common_prefix(text_, *other);
    if (place < behind_ + before) return std::nullopt;
    const std::string_view turn = std::string_view(*last).substr(prompt->size());
    const std::size_t start = place - before;
    if (!std::string_view(text_).substr(start).starts_with(turn)) return std::nullopt;
    const std::size_t end = start + turn.size();
    return Span{start, cut_behind_end_of_turn(start, end).value_or(end)};
  }

  // Message i with other names in its tool calls; nothing when it has none.
  std::optional<Json> renamed_calls(std::size_t i, char mark) const {
    Json message = messages_[i];
    const auto calls = message.find("tool_calls");
    if (calls == message.end() || !calls->is_array() || calls->empty()) return std::nullopt;
    for (Json& call : *calls) {
      if (!call.is_object()) return std::nullopt;
      const auto function = call.find("function");
      Json& named = function != call.end() && function->is_object() ? *function : call;
      named["name"] = std::string(3, mark);
    }
    return message;
  }

  // Message i with other content, and, when bare, nothing else to say.
  Json marked(std::size_t i, char mark, bool bare) const {
    Json message = messages_[i];
    if (bare) {
      for (const char* key : {"tool_calls", "reasoning_content", "thinking", "reasoning"}) {
        message.erase(key);
      }
    }
    message["content"] = std::string(3, mark);
    return message;
  }

  // The part of the text that changes with what the message says.
  std::optional<Span> changed_part(std::size_t i, char mark) const {
    std::optional<Span> widest;
    for (const bool bare : {false, true}) {
      Json changed = messages_;
      changed[i] = marked(i, mark, bare);
      const std::optional<std::string> other = try_render(changed, add_generation_prompt_);
      if (!other || other->find(mark) == std::string::npos) continue;
      const std::size_t limit = std::min(text_.size(), other->size());
      const std::size_t prefix = common_prefix(text_, *other);
      const std::size_t suffix = std::min(common_suffix(text_, *other), limit - prefix);
      const Span part{prefix, text_.size() - suffix};
      widest =
          widest ? Span{std::min(widest->first, part.first), std::max(widest->second, part.second)}
                 : part;
    }
    return widest;
  }

  // What a template writes behind the content of message i when it is the last one.
  std::string closing_text(std::size_t i, char mark) const {
    Json some = first_messages(i);
    some.push_back(marked(i, mark, true));
    const std::string text = try_render(some, false).value_or("");
    const std::size_t place = text.rfind(mark);
    return place == std::string::npos ? std::string() : text.substr(place + 1);
  }

  // A character that nothing in the text is: no change of content can look like the content.
  std::optional<char> free_mark(std::string_view candidates) const {
    const auto free = std::find_if(candidates.begin(), candidates.end(),
                                   [&](char c) { return text_.find(c) == std::string::npos; });
    return free == candidates.end() ? std::nullopt : std::optional(*free);
  }

  // "<|im_start|>assistant\n" and its like: what asking for a reply adds in front of turn i.
  std::string generation_prompt(std::size_t i) const {
    for (const std::size_t count : {i, messages_.size()}) {
      const auto without = try_render(first_messages(count), false);
      const auto with = try_render(first_messages(count), true);
      // Where no reply is asked for, some templates close the text instead.
      if (without && with) return with->substr(common_prefix(*with, *without));
    }
    return {};
  }

  // The position behind the prompt's last place in text[behind_, content). Where the text lacks the
  // prompt's end (an empty <think> block), its first line counts, or else its first tag or word.
  std::optional<std::size_t> behind_prompt(const std::string& prompt, std::size_t content) const {
    const std::string_view before = std::string_view(text_).substr(0, content);
    for (const std::size_t size :
         {prompt.size(), prompt.find('\n') + 1, prompt.find_first_of(">]:") + 1}) {
      const std::string_view beginning = std::string_view(prompt).substr(0, size);
      const std::size_t place = before.rfind(beginning);  // find's npos + 1 is 0: nothing to find
      if (is_blank(beginning) || place == std::string_view::npos || place < behind_) continue;
      return place + size;
    }
    if (!is_blank(prompt)) return std::nullopt;
    // No words announce a reply: the turn starts behind the last special token or text.
    return content - (before.size() - jinja::strip_right(before).size());
  }

  std::optional<Span> by_content(std::size_t i) {
    const std::optional<char> mark = free_mark(kControls);
    if (!mark) return std::nullopt;
    const std::optional<Span> part = changed_part(i, *mark);
    if (!part || part->first < behind_) return std::nullopt;
    const auto start = behind_prompt(generation_prompt(i), part->first);
    if (!start) return std::nullopt;
    const std::optional<std::size_t> end = end_of_turn_behind(part->second, closing_text(i, *mark));
    return end ? std::optional(Span{*start, *end}) : std::nullopt;
  }

  // Behind the special token that follows, and those directly behind it that close the turn too
  // (the next one may already open the following message).
  std::optional<std::size_t> end_of_turn_behind(std::size_t position,
                                                const std::string& closing) const {
    const std::size_t sure =
        position + common_prefix(closing, std::string_view(text_).substr(position));
    std::optional<std::size_t> end;
    for (const Span& token : special_) {
      if (token.first < position) continue;
      const std::size_t from = end.value_or(position);
      const std::string_view between(text_.data() + from, token.first - from);
      if (end ? !between.empty() || token.second > sure : !is_blank(between)) break;
      end = token.second;
    }
    return end;
  }

  const ChatTemplate& template_;
  const Json& messages_;
  bool add_generation_prompt_;
  const Json& variables_;
  const std::string& text_;
  const std::vector<Span>& special_;
  std::size_t behind_ = 0;  // where the last found turn ends
};

}  // namespace

std::vector<Span> find_assistant_turns(const ChatTemplate& chat_template, const Json& messages,
                                       bool add_generation_prompt, const Json& variables,
                                       const std::string& text, const std::vector<Span>& special) {
  return TurnFinder(chat_template, messages, add_generation_prompt, variables, text, special).run();
}

}  // namespace limbic::data

#include "rewards/terms/inconsistency.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "rewards/aliases.h"
#include "rewards/pattern.h"
#include "rewards/terms/option.h"

namespace limbic::rewards {
namespace {

// Any of the words as whole words, the longest first.
std::string any_word(const Aliases& aliases) {
  std::vector<std::string> words;
  for (const auto& [word, label] : aliases.words()) words.push_back(word);
  std::stable_sort(words.begin(), words.end(),
                   [](const std::string& a, const std::string& b) { return a.size() > b.size(); });
  for (std::string& word : words) word = quoted_pattern(word);
  return fmt::format("(?<!\\w)(?:{})(?!\\w)", fmt::join(words, "|"));
}

class InconsistencyTerm final : public RowTerm {
 public:
  InconsistencyTerm(const InconsistencyConfig& config, Aliases aliases, const std::string& where)
      : reasoning_({config.reasoning}),
        answer_({config.answer}),
        between_(config.between),
        aliases_(std::move(aliases)),
        emotion_word_(any_word(aliases_), where, Letters::kAnyCase),
        unit_("(?<!\\w)AU ?\\d+[A-Ea-e]?(?!\\w)", where, Letters::kAnyCase),
        negation_(
            "(?:\\b(?:not|no|never|without|neither|nor|rather than|instead of)|n't)"
            "(?:\\s+(?:a|an|the|any|really|very|so|feeling|feel|of|sign|signs)){0,3}\\s+$",
            where, Letters::kAnyCase) {
    if (between_ == Between::kAuEmotion) {
      units_ = load_action_units(config.au_emotion, aliases_, where + ".au_emotion");
    }
  }

  std::string tables() const override {
    std::string text = aliases_.text();
    for (const auto& [emotion, units] : units_) {
      text += fmt::format("{}:{}/{}\n", emotion, fmt::join(units.typical, " "),
                          fmt::join(units.contradicts, " "));
    }
    return text;
  }

 protected:
  Result score_row(const Completion& row) const override {
    const std::optional<std::string_view> reasoning = reasoning_.find(row.text);
    const std::optional<std::string_view> answer = answer_.find(row.text);
    if (!reasoning || !answer) {
      return Result::not_applicable(
          fmt::format("no {} in the completion", reasoning ? answer_.name() : reasoning_.name()));
    }
    const std::string emotion = aliases_.canonical(*answer);
    if (!aliases_.words().contains(emotion)) {
      return Result::not_applicable(fmt::format("'{}' is no known label", shortened(emotion)));
    }
    return between_ == Between::kReasoningAnswer ? by_words(*reasoning, emotion)
                                                 : by_units(*reasoning, emotion);
  }

 private:
  Result by_words(std::string_view reasoning, const std::string& emotion) const {
    const std::vector<Pattern::Match> named = emotion_word_.find_all(reasoning);
    for (auto match = named.rbegin(); match != named.rend(); ++match) {
      constexpr std::size_t kReach = 48;  // bytes before the word that may negate it
      const std::size_t begin = match->begin > kReach ? match->begin - kReach : 0;
      if (negation_.search(reasoning.substr(begin, match->begin - begin))) continue;
      const std::string reasoned = aliases_.canonical(match->text);
      return Result::scored(reasoned == emotion ? 1.0 : 0.0,
                            fmt::format("reasoning {}, answer {}", reasoned, emotion));
    }
    return Result::not_applicable("the reasoning names no emotion");
  }

  Result by_units(std::string_view reasoning, const std::string& emotion) const {
    const auto entry = units_.find(emotion);
    if (entry == units_.end()) {
      return Result::not_applicable(fmt::format("no action units are known for {}", emotion));
    }
    std::set<int> named;
    for (const Pattern::Match& match : unit_.find_all(reasoning)) {
      if (const std::optional<int> unit = action_unit(match.text)) named.insert(*unit);
    }
    if (named.empty()) return Result::not_applicable("the reasoning names no action unit");
    bool fits = false;
    bool typical_of_some = false;
    for (const int unit : named) {
      if (entry->second.contradicts.contains(unit)) {
        return Result::scored(0.0, fmt::format("AU{} contradicts {}", unit, emotion));
      }
      fits |= entry->second.typical.contains(unit);
      for (const auto& [label, units] : units_) typical_of_some |= units.typical.contains(unit);
    }
    if (!typical_of_some) return Result::not_applicable("the action units belong to no emotion");
    return Result::scored(fits ? 1.0 : 0.0, fmt::format("AU{} {} {}", fmt::join(named, " AU"),
                                                        fits ? "fits" : "has nothing of", emotion));
  }

  Region reasoning_;
  Region answer_;
  Between between_;
  Aliases aliases_;
  Pattern emotion_word_;
  Pattern unit_;
  Pattern negation_;
  std::map<std::string, ActionUnits> units_;
};

}  // namespace

void describe(Fields& f, InconsistencyConfig& c) {
  f.field("reasoning", c.reasoning, "tag of the reasoning");
  f.field("answer", c.answer, "tag of the answer");
  f.field("aliases", c.aliases, "file of `label: [other words]`, such a section, or ekman");
  f.field("au_emotion", c.au_emotion, "file of action units per emotion; default: built in");
  if (f.reading() && f.has("between")) {
    std::string text;
    f.field("between", text, "");
    if (text == "turns" || text == "persona_reply") {
      f.fail("between", fmt::format("got '{}', want reasoning_answer or au_emotion; this version "
                                    "does not have this comparison yet",
                                    text));
    }
  }
  f.choice("between", c.between,
           {{Between::kReasoningAnswer, "reasoning_answer"}, {Between::kAuEmotion, "au_emotion"}},
           "what is compared with the answer");
  require_text(f, "reasoning", c.reasoning, "a tag's name");
  require_text(f, "answer", c.answer, "a tag's name");
}

std::unique_ptr<Term> make_term(const InconsistencyConfig& config, const TermSetup& setup) {
  Aliases aliases = Aliases::parse(config.aliases, {}, setup.where + ".aliases");
  if (aliases.words().empty()) {
    throw ConfigError(setup.where + ".aliases: got no labels, want `label: [other words]`");
  }
  return std::make_unique<InconsistencyTerm>(config, std::move(aliases), setup.where);
}

}  // namespace limbic::rewards

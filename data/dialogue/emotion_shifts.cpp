#include "data/dialogue/emotion_shifts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>

#include "trainer/base/error.h"

namespace limbic::data {
namespace {

constexpr std::string_view kUse = "a list with one item per utterance for 'emotion_shifts'";

const Json& want_list(const Row& row, const std::string& column) {
  const Json& value = want_column(row, column, kUse);
  if (!value.is_array() || value.empty()) {
    fail_row(row, fmt::format("got {} in column '{}', want {}",
                              value.is_array() ? "an empty list" : in_words(value), column, kUse));
  }
  return value;
}

std::vector<Utterance> conversation_of(const Row& row, const EmotionWheel& wheel,
                                       const EmotionShiftConfig& config) {
  const Json& labels = want_list(row, config.labels);
  const Json& speakers = want_list(row, config.speakers);
  if (labels.size() != speakers.size()) {
    fail_row(row, fmt::format("got {} items in column '{}' and {} in '{}', want as many",
                              labels.size(), config.labels, speakers.size(), config.speakers));
  }
  std::vector<Utterance> conversation;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto emotion = wheel.find(as_text(labels[i]));
    if (!emotion) {
      fail_row(row, fmt::format("got {} in column '{}', want one of {}", in_words(labels[i]),
                                config.labels, fmt::join(config.emotions, ", ")));
    }
    conversation.push_back({as_text(speakers[i]), *emotion});
  }
  return conversation;
}

}  // namespace

void describe(Fields& f, EmotionShiftConfig& c) {
  f.require("emotions");
  f.field("emotions", c.emotions, "all labels of the task, words of the wheel in docs/rewards.md");
  f.field("labels", c.labels, "column with a list: the label of each utterance");
  f.field("speakers", c.speakers, "column with a list: the speaker of each utterance");
  f.field("k", c.k, "weight of the similarity of the two emotions of a shift",
          Bounds::at_least(0.0));
  f.field("b", c.b, "weight of every shift", Bounds::at_least(0.0));
  f.choice("pairs", c.pairs,
           {{ShiftPairs::kAll, "all"}, {ShiftPairs::kSameSpeaker, "same_speaker"}},
           "shifts that count: all, or only those within what one speaker says");
  f.rule("emotions", [&] { EmotionWheel{c.emotions}; });
}

double shift_difficulty(std::span<const Utterance> conversation, const EmotionWheel& wheel,
                        const EmotionShiftConfig& config) {
  const auto shift = [&](std::size_t before, std::size_t after) {
    return before == after ? 0.0 : config.k * wheel.similarity(before, after) + config.b;
  };
  double sum = 0.0;
  std::map<std::string, std::size_t> last;  // speaker: emotion
  for (std::size_t i = 0; i < conversation.size(); ++i) {
    const Utterance& now = conversation[i];
    const auto [mine, first] = last.emplace(now.speaker, now.emotion);
    if (!first) sum += shift(mine->second, now.emotion);
    mine->second = now.emotion;
    const bool turn = i > 0 && conversation[i - 1].speaker != now.speaker;
    if (turn && config.pairs == ShiftPairs::kAll) {
      sum += shift(conversation[i - 1].emotion, now.emotion);
    }
  }
  const auto speakers = static_cast<double>(last.size());
  return (sum + speakers) / (static_cast<double>(conversation.size()) + speakers);
}

std::vector<double> shift_difficulties(const Mixture& rows, const EmotionShiftConfig& config) {
  const EmotionWheel wheel(config.emotions);
  std::vector<double> difficulties;
  difficulties.reserve(static_cast<std::size_t>(rows.size()));
  for (std::int64_t i = 0; i < rows.size(); ++i) {
    difficulties.push_back(
        shift_difficulty(conversation_of(rows.row(i), wheel, config), wheel, config));
  }
  return difficulties;
}

}  // namespace limbic::data

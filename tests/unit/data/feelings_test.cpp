// The shipped data set is what its README says.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace limbic::data {
namespace {

using Words = std::set<std::string>;

const Words kEmotionWords = [] {
  std::istringstream list(
      "anger angry angrily angrier angriest furious fury rage raging enraged livid mad irate "
      "annoyed annoying outraged seething resent resentful disgust disgusted disgusting gross "
      "grossed revolting revolted repulsive repulsed nauseous nauseating vile sickening sickened "
      "yuck fear fears feared afraid scared scary scare frightened frightening fright terrified "
      "terrifying terror panic panicked dread dreading petrified horror horrified anxious nervous "
      "worried alarmed joy joyful joyous happy happier happiest happiness delighted delight "
      "delightful glad overjoyed thrilled ecstatic elated blissful bliss cheerful jubilant sad "
      "sadder saddest sadly sadness sorrow sorrowful heartbroken grief grieving miserable misery "
      "unhappy depressed gloomy melancholy mournful despair lonely surprise surprised surprising "
      "surprises astonished astonishing astonishment amazed amazing amazement astounded shocked "
      "shock shocking stunned startled flabbergasted dumbfounded gobsmacked love loved loves "
      "loving hate hated hates hating excited ashamed proud embarrassed upset");
  Words words;
  for (std::string word; list >> word;) words.insert(word);
  return words;
}();

// Lower case, letters and digits only.
std::vector<std::string> words_of(const std::string& text) {
  std::string plain;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\'') continue;
    plain += std::isalnum(byte) ? static_cast<char>(std::tolower(byte)) : ' ';
  }
  std::istringstream stream(plain);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

struct Text {
  std::string id;
  std::string text;
  std::string label;
  std::int64_t difficulty = 0;
  std::string topic;
  std::vector<std::string> words;
  std::vector<std::string> word_set;  // sorted, no repeats
};

std::vector<Text> load(const std::string& file) {
  DatasetConfig config;
  config.path = {LIMBIC_SOURCE_DIR "/data/samples/feelings/" + file};
  const Dataset dataset = Dataset::load("feelings", config, 0);
  std::vector<Text> texts;
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    const Json row = dataset.row(i).value;
    Text text{row.at("id"),
              row.at("text"),
              row.at("label"),
              row.at("difficulty"),
              row.at("topic"),
              {},
              {}};
    text.words = words_of(text.text);
    const Words set(text.words.begin(), text.words.end());
    text.word_set.assign(set.begin(), set.end());
    texts.push_back(std::move(text));
  }
  return texts;
}

class Feelings : public testing::Test {
 protected:
  const std::vector<Text> train_ = load("train.jsonl");
  const std::vector<Text> test_ = load("test.jsonl");
  std::vector<Text> all() const {
    std::vector<Text> texts = train_;
    texts.insert(texts.end(), test_.begin(), test_.end());
    return texts;
  }
};

TEST_F(Feelings, HaveTheSameNumberOfTextsPerLabel) {
  const Words labels{"anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise"};
  for (const auto& [texts, wanted] : {std::pair{&train_, 150}, std::pair{&test_, 50}}) {
    std::map<std::string, int> counts;
    for (const Text& text : *texts) ++counts[text.label];
    ASSERT_EQ(counts.size(), labels.size());
    for (const std::string& label : labels) EXPECT_EQ(counts[label], wanted) << label;
  }
}

TEST_F(Feelings, HaveUniqueIdsAndATopic) {
  Words ids;
  for (const Text& text : all()) {
    EXPECT_TRUE(ids.insert(text.id).second) << text.id;
    EXPECT_FALSE(text.topic.empty()) << text.id;
  }
  EXPECT_EQ(ids.size(), 1400u);
}

TEST_F(Feelings, HaveTheSameShareOfDifficultiesInTrainAndTest) {
  std::map<std::pair<std::string, std::int64_t>, double> shares;
  for (const Text& text : all()) {
    ASSERT_GE(text.difficulty, 1) << text.id;
    ASSERT_LE(text.difficulty, 3) << text.id;
  }
  for (const Text& text : train_) shares[{text.label, text.difficulty}] += 1.0 / 150;
  for (const Text& text : test_) shares[{text.label, text.difficulty}] -= 1.0 / 50;
  EXPECT_EQ(shares.size(), 21u);
  // One text of fifty is the finest that a share can be matched.
  for (const auto& [key, difference] : shares) EXPECT_NEAR(difference, 0.0, 0.02) << key.first;
}

TEST_F(Feelings, AreBalancedInEveryRoundOfSeven) {
  for (const auto* texts : {&train_, &test_}) {
    for (std::size_t round = 0; round + 7 <= texts->size(); round += 7) {
      Words labels;
      for (std::size_t i = round; i < round + 7; ++i) labels.insert((*texts)[i].label);
      EXPECT_EQ(labels.size(), 7u) << (*texts)[round].id;
    }
  }
}

TEST_F(Feelings, AreToldWithoutAnyEmotionWordInAThirdOfTheTexts) {
  for (const auto* texts : {&train_, &test_}) {
    const auto without = std::count_if(texts->begin(), texts->end(), [](const Text& text) {
      return std::none_of(text.words.begin(), text.words.end(),
                          [](const std::string& word) { return kEmotionWords.contains(word); });
    });
    EXPECT_GE(without * 3, std::ssize(*texts));
  }
}

TEST_F(Feelings, NeverRepeatAText) {
  std::set<std::vector<std::string>> seen;
  for (const Text& text : all()) EXPECT_TRUE(seen.insert(text.words).second) << text.text;
}

TEST_F(Feelings, HaveNoNearTwinsAcrossTheSplit) {
  for (const Text& a : test_) {
    for (const Text& b : train_) {
      std::vector<std::string> common;
      std::set_intersection(a.word_set.begin(), a.word_set.end(), b.word_set.begin(),
                            b.word_set.end(), std::back_inserter(common));
      const std::size_t either = a.word_set.size() + b.word_set.size() - common.size();
      ASSERT_LT(static_cast<double>(common.size()), 0.6 * static_cast<double>(either))
          << a.text << "\n"
          << b.text;
    }
  }
}

}  // namespace
}  // namespace limbic::data

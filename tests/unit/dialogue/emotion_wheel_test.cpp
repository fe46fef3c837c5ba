#include "data/dialogue/emotion_wheel.h"

#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"
#include "trainer/base/error.h"

namespace limbic::data {
namespace {

using test::message_of;

const std::vector<std::string> kSix = {"happy", "sad", "neutral", "angry", "excited", "frustrated"};

double similarity(const EmotionWheel& wheel, const std::string& a, const std::string& b) {
  return wheel.similarity(wheel.find(a).value(), wheel.find(b).value());
}

std::string error_of(const std::vector<std::string>& emotions) {
  return message_of<ConfigError>([&] { EmotionWheel{emotions}; });
}

TEST(EmotionWheel, IsSymmetricWithOneOnTheDiagonal) {
  const EmotionWheel wheel(kSix);
  for (std::size_t a = 0; a < kSix.size(); ++a) {
    EXPECT_EQ(wheel.similarity(a, a), 1.0);
    for (std::size_t b = 0; b < kSix.size(); ++b) {
      EXPECT_EQ(wheel.similarity(a, b), wheel.similarity(b, a));
    }
  }
}

// Surprise (81 degrees) and anger (99 degrees) are neighbours, but pleasant and unpleasant.
TEST(EmotionWheel, ValencesOfOppositeSignsAreNotSimilar) {
  const EmotionWheel wheel({"surprise", "anger", "excited"});
  EXPECT_EQ(similarity(wheel, "surprise", "anger"), 0.0);
  EXPECT_NEAR(similarity(wheel, "surprise", "excited"), 0.9511, 5e-5);  // 18 degrees
}

TEST(EmotionWheel, KnowsTheWordsOfItsEmotions) {
  const EmotionWheel wheel(kSix);
  EXPECT_EQ(wheel.find("Happiness"), wheel.find("joy"));
  EXPECT_EQ(wheel.find("joy"), 0u);
  EXPECT_EQ(wheel.find("frustration"), 5u);
  EXPECT_FALSE(wheel.find("fear"));  // on the wheel, not of the task
  EXPECT_FALSE(wheel.find("boredom"));
  EXPECT_FALSE(wheel.find(""));
}

TEST(EmotionWheel, RefusesWhatIsNoSetOfItsEmotions) {
  EXPECT_EQ(error_of({"joy"}), "got 1 emotions, want all labels of the task");
  EXPECT_EQ(error_of({"joy", "contempt"}),
            "got 'contempt', want emotions of the wheel: joy, excited, surprise, anger, disgust, "
            "fear, frustrated, sad, neutral");
  EXPECT_EQ(error_of({"sad", "happy", "joy"}),
            "got 'joy' beside another word for joy, want one word for each emotion");
}

}  // namespace
}  // namespace limbic::data

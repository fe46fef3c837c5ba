#include "data/dialogue/emotion_wheel.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "trainer/base/error.h"

namespace limbic::data {
namespace {

struct Place {
  std::optional<double> degrees;          // from pleasant, counter-clockwise; empty: the origin
  std::array<std::string_view, 3> words;  // the rest is empty
};

constexpr std::array<Place, 9> kPlaces = {{
    {27.0, {"joy", "happy", "happiness"}},
    {63.0, {"excited", "excitement"}},
    {81.0, {"surprise", "surprised"}},
    {99.0, {"anger", "angry"}},
    {153.0, {"disgust", "disgusted"}},
    {171.0, {"fear", "fearful"}},
    {189.0, {"frustrated", "frustration"}},
    {261.0, {"sad", "sadness"}},
    {std::nullopt, {"neutral"}},
}};

std::optional<std::size_t> place_of(std::string_view word) {
  if (word.empty()) return std::nullopt;
  std::string lower(word);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  for (std::size_t i = 0; i < kPlaces.size(); ++i) {
    const auto& words = kPlaces[i].words;
    if (std::find(words.begin(), words.end(), lower) != words.end()) return i;
  }
  return std::nullopt;
}

double cosine(double degrees) { return std::cos(degrees * std::numbers::pi / 180.0); }

double similarity_of(const Place& a, const Place& b, std::size_t emotions) {
  if (!a.degrees || !b.degrees) return 1.0 / static_cast<double>(emotions);
  if (cosine(*a.degrees) * cosine(*b.degrees) < 0.0) return 0.0;
  return std::max(cosine(*a.degrees - *b.degrees), 0.0);
}

}  // namespace

EmotionWheel::EmotionWheel(const std::vector<std::string>& emotions) {
  if (emotions.size() < 2) {
    throw ConfigError(fmt::format("got {} emotions, want all labels of the task", emotions.size()));
  }
  for (const std::string& emotion : emotions) {
    const std::optional<std::size_t> place = place_of(emotion);
    if (!place) {
      std::vector<std::string_view> known;
      for (const Place& each : kPlaces) known.push_back(each.words[0]);
      throw ConfigError(
          fmt::format("got '{}', want emotions of the wheel: {}", emotion, fmt::join(known, ", ")));
    }
    if (std::find(places_.begin(), places_.end(), *place) != places_.end()) {
      throw ConfigError(
          fmt::format("got '{}' beside another word for {}, want one word for each emotion",
                      emotion, kPlaces[*place].words[0]));
    }
    places_.push_back(*place);
  }
  for (const std::size_t a : places_) {
    std::vector<double>& row = similarity_.emplace_back();
    for (const std::size_t b : places_) {
      row.push_back(a == b ? 1.0 : similarity_of(kPlaces[a], kPlaces[b], places_.size()));
    }
  }
}

std::optional<std::size_t> EmotionWheel::find(std::string_view word) const {
  const std::optional<std::size_t> place = place_of(word);
  if (!place) return std::nullopt;
  const auto found = std::find(places_.begin(), places_.end(), *place);
  if (found == places_.end()) return std::nullopt;
  return static_cast<std::size_t>(found - places_.begin());
}

}  // namespace limbic::data

// How hard a conversation is for emotion recognition: how often, and between how close emotions,
// it shifts. Source: PRC-Emo (AAAI 2026), eq. 2 and 3, with the choices of its published code.
//
//   DIF = (sum of WES over own shifts + sum of WES over shifts between speakers + S) / (U + S)
//   WES = k s(a, b) + b     s: emotion_wheel.h
//
// with U utterances of S speakers. An own shift is two different labels that follow each other in
// what one speaker says; a shift between speakers two different labels of neighbouring utterances
// of different speakers.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/dialogue/emotion_wheel.h"
#include "trainer/base/fields.h"

namespace limbic::data {

enum class ShiftPairs { kAll, kSameSpeaker };

struct EmotionShiftConfig {
  std::vector<std::string> emotions = {};  // all labels of the task
  std::string labels = "labels";           // column: a list with the label of each utterance
  std::string speakers = "speakers";       // column: a list with the speaker of each utterance
  double k = 1.0;
  double b = 0.4;
  ShiftPairs pairs = ShiftPairs::kAll;  // same speaker: only own shifts count
};
void describe(Fields& f, EmotionShiftConfig& c);

struct Utterance {
  std::string speaker;
  std::size_t emotion = 0;  // index of the wheel
};

// Requires: at least one utterance.
double shift_difficulty(std::span<const Utterance> conversation, const EmotionWheel& wheel,
                        const EmotionShiftConfig& config);

// Of each row. Speakers may be any JSON values; equal ones are one speaker. Throws DataError
// `FILE:LINE: ...`: a column that is missing or no list, lists of different lengths or without
// elements, a label that is none of the emotions. ConfigError: see EmotionWheel.
std::vector<double> shift_difficulties(const Mixture& rows, const EmotionShiftConfig& config);

}  // namespace limbic::data

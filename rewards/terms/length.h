// Terms about how long or how repetitive a completion is.
//
// `length`      1 when min <= length <= max, else 0 (also when the region is absent).
// `overlong`    DAPO's soft punishment (arXiv:2503.14476, eq. 13), with n tokens: 0 up to
//               max_length - buffer, then (max_length - buffer - n) / buffer, -1 above max_length.
// `repetition`  max_penalty x (1 - distinct n-grams / n-grams) over lower-case words; 0 for a text
//               shorter than one n-gram. Source: arXiv:2502.03373.
//
// Tokens are the ids that were sampled. A completion that came without ids, and a region, are
// encoded with the tokenizer of the folder `tokenizer`; without that folder the former is a failed
// outcome and the latter a ConfigError.
#pragma once

#include <optional>

#include "rewards/terms/term.h"

namespace limbic::rewards {

enum class LengthUnit { kTokens, kWords, kCharacters };

struct LengthConfig {
  std::optional<std::int64_t> min;
  std::optional<std::int64_t> max;
  LengthUnit unit = LengthUnit::kTokens;
  std::vector<std::string> region;
  std::string tokenizer;
};
void describe(Fields& f, LengthConfig& c);
std::unique_ptr<Term> make_term(const LengthConfig& config, const TermSetup& setup);

struct OverlongConfig {
  std::int64_t max_length = 0;  // tokens
  std::int64_t buffer = 0;      // tokens
  std::string tokenizer;
};
void describe(Fields& f, OverlongConfig& c);
std::unique_ptr<Term> make_term(const OverlongConfig& config, const TermSetup& setup);

struct RepetitionConfig {
  std::int64_t ngram = 3;
  double max_penalty = -1.0;
};
void describe(Fields& f, RepetitionConfig& c);
std::unique_ptr<Term> make_term(const RepetitionConfig& config, const TermSetup& setup);

}  // namespace limbic::rewards

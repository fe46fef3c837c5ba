// From the judge's reply to a number.
//
// The reply is one flat JSON object: `reasons` (string), a whole number of the scale per axis, true
// or false per criterion and veto, and the ticket of the request. All keys once, no others, nothing
// around it. Anything else is no verdict: it is never repaired, and never counts as 0.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rewards/judge/rubric.h"
#include "trainer/base/error.h"

namespace limbic::rewards {

// The reply is no verdict; the message is "got X, want Y".
class VerdictError : public DataError {
 public:
  using DataError::DataError;
};

struct Verdict {
  // [items of the rubric] Axes in their scale; criteria and vetoes as the share of yes, 0 to 1.
  std::vector<double> values;
  std::string reasons;

  bool operator==(const Verdict&) const = default;
};

// JSON schema of the reply, for `response_format`. It is the same for every request, so that a
// server compiles it once.
Json reply_schema(const Rubric& rubric);

// Throws VerdictError.
Verdict parse_verdict(const Rubric& rubric, std::string_view ticket, const std::string& content);

// One generated token with the likeliest tokens at its place (itself usually among them).
struct TokenChoice {
  std::string text;
  std::vector<std::pair<std::string, double>> alternatives;  // text, natural log of probability
};
// Replaces every value by its expectation over the alternatives at the token that wrote it: those
// that make another value of the scale (or true/false) there, their probabilities scaled to 1.
// Requires: the verdict was parsed from `content`; values of the scale are single digits.
// Throws VerdictError: the tokens are not those of the content, a value is spread over tokens, or
// less than half of the probability is on values at all.
void take_expectations(const Rubric& rubric, const std::string& content,
                       std::span<const TokenChoice> tokens, Verdict& verdict);

// How the items become one share. Weights count in the mean only.
enum class Aggregate { kMean, kMin, kProduct };

// The mean verdict of several votes. Requires: at least one.
Verdict mean_verdict(std::span<const Verdict> votes);

// Share of the rubric, 0 to 1. An axis counts (value - lowest) / (highest - lowest), a criterion
// its share of the good answer. A veto with at least half of yes holds the share down to its
// `at_most`.
double rubric_share(const Rubric& rubric, const Verdict& verdict, Aggregate aggregate);

// 1 - mean distance of two shares, over all pairs. Requires: at least two.
double agreement(std::span<const double> shares);

}  // namespace limbic::rewards

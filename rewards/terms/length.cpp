#include "rewards/terms/length.h"

#include <fmt/format.h>

#include <set>

#include "data/tokenizer/tokenizer.h"
#include "data/tokenizer/utf8.h"
#include "rewards/terms/option.h"

namespace limbic::rewards {
namespace {

// Counts tokens as the header says.
class TokenCounter {
 public:
  TokenCounter(const std::string& folder, const std::string& where) {
    if (folder.empty()) return;
    try {
      tokenizer_ = std::make_unique<data::Tokenizer>(data::Tokenizer::load(folder));
    } catch (const DataError& error) {
      throw ConfigError(fmt::format("{}.tokenizer: {}", where, error.what()));
    }
  }

  // Throws DataError when nothing can count.
  std::int64_t count(const Completion& row, std::string_view text, bool whole) const {
    if (whole && (!row.ids.empty() || row.text.empty())) {
      return static_cast<std::int64_t>(row.ids.size());
    }
    if (!tokenizer_) {
      throw DataError("the completion came without ids; give `tokenizer` or another unit");
    }
    return static_cast<std::int64_t>(tokenizer_->encode(text).size());
  }

 private:
  std::unique_ptr<const data::Tokenizer> tokenizer_;
};

class LengthTerm final : public RowTerm {
 public:
  LengthTerm(const LengthConfig& config, const std::string& where)
      : config_(config), region_(config.region), counter_(config.tokenizer, where) {}

 protected:
  Result score_row(const Completion& row) const override {
    const std::optional<std::string_view> text = region_.find(row.text);
    if (!text) return Result::scored(0.0, fmt::format("no {} in the completion", region_.name()));
    const std::int64_t length = measure(row, *text);
    const bool inside =
        (!config_.min || length >= *config_.min) && (!config_.max || length <= *config_.max);
    return Result::scored(inside ? 1.0 : 0.0, std::to_string(length));
  }

 private:
  std::int64_t measure(const Completion& row, std::string_view text) const {
    switch (config_.unit) {
      case LengthUnit::kTokens:
        return counter_.count(row, text, region_.is_whole());
      case LengthUnit::kWords:
        return static_cast<std::int64_t>(split_words(text).size());
      case LengthUnit::kCharacters:
        break;
    }
    const std::string valid = data::repair_utf8(text);
    std::int64_t characters = 0;
    for (std::size_t at = 0; at < valid.size(); ++characters) data::next_code_point(valid, at);
    return characters;
  }

  LengthConfig config_;
  Region region_;
  TokenCounter counter_;
};

class OverlongTerm final : public RowTerm {
 public:
  OverlongTerm(const OverlongConfig& config, const std::string& where)
      : max_length_(config.max_length), buffer_(config.buffer), counter_(config.tokenizer, where) {}

 protected:
  Result score_row(const Completion& row) const override {
    const std::int64_t length = counter_.count(row, row.text, true);
    const std::int64_t over = length - (max_length_ - buffer_);
    std::string detail = std::to_string(length);
    if (over <= 0) return Result::scored(0.0, std::move(detail));
    if (length > max_length_) return Result::scored(-1.0, std::move(detail));
    return Result::scored(-static_cast<double>(over) / static_cast<double>(buffer_),
                          std::move(detail));
  }

 private:
  std::int64_t max_length_;
  std::int64_t buffer_;
  TokenCounter counter_;
};

class RepetitionTerm final : public RowTerm {
 public:
  explicit RepetitionTerm(const RepetitionConfig& config)
      : ngram_(static_cast<std::size_t>(config.ngram)), max_penalty_(config.max_penalty) {}

 protected:
  Result score_row(const Completion& row) const override {
    const std::vector<std::string> words =
        split_words(normalize(row.text, {.lower = true, .strip_punctuation = false}));
    if (words.size() < ngram_) return Result::scored(0.0, "too short to repeat");
    const std::size_t total = words.size() - ngram_ + 1;
    std::set<std::vector<std::string>> distinct;
    for (std::size_t i = 0; i < total; ++i) {
      const auto first = words.begin() + static_cast<std::ptrdiff_t>(i);
      distinct.emplace(first, first + static_cast<std::ptrdiff_t>(ngram_));
    }
    const double share = static_cast<double>(total - distinct.size()) / static_cast<double>(total);
    return Result::scored(max_penalty_ * share,
                          fmt::format("{} of {} distinct", distinct.size(), total));
  }

 private:
  std::size_t ngram_;
  double max_penalty_;
};

}  // namespace

void describe(Fields& f, LengthConfig& c) {
  f.field("min", c.min, "smallest length that is right", Bounds::at_least(0));
  f.field("max", c.max, "largest length that is right", Bounds::at_least(0));
  f.choice("unit", c.unit,
           {{LengthUnit::kTokens, "tokens"},
            {LengthUnit::kWords, "words"},
            {LengthUnit::kCharacters, "characters"}},
           "what is counted");
  region_field(f, c.region);
  f.field("tokenizer", c.tokenizer, "model folder whose tokenizer counts a region's tokens");
  if (!f.reading()) return;
  if (!c.min && !c.max) f.fail("min", "got neither min nor max, want one of them or both");
  if (c.min && c.max && *c.min > *c.max) {
    f.fail("max", fmt::format("got {}, want at least min ({})", *c.max, *c.min));
  }
  if (c.unit == LengthUnit::kTokens && !c.region.empty() && c.tokenizer.empty()) {
    f.fail("region",
           "got a region counted in tokens, want `tokenizer: MODEL_FOLDER` beside it; or "
           "unit: words");
  }
}

void describe(Fields& f, OverlongConfig& c) {
  f.field("max_length", c.max_length, "tokens above which the value is -1", Bounds::at_least(1));
  f.field("buffer", c.buffer, "tokens before max_length over which the value falls from 0 to -1",
          Bounds::at_least(1));
  f.field("tokenizer", c.tokenizer, "model folder that counts completions without ids");
  f.require("max_length");
  f.require("buffer");
  if (f.reading() && c.buffer > c.max_length) {
    f.fail("buffer", fmt::format("got {}, want at most max_length ({})", c.buffer, c.max_length));
  }
}

void describe(Fields& f, RepetitionConfig& c) {
  f.field("ngram", c.ngram, "words per n-gram", Bounds::at_least(1));
  f.field("max_penalty", c.max_penalty, "value when everything is repeated", Bounds{.max = 0.0});
}

std::unique_ptr<Term> make_term(const LengthConfig& config, const TermSetup& setup) {
  return std::make_unique<LengthTerm>(config, setup.where);
}
std::unique_ptr<Term> make_term(const OverlongConfig& config, const TermSetup& setup) {
  return std::make_unique<OverlongTerm>(config, setup.where);
}
std::unique_ptr<Term> make_term(const RepetitionConfig& config, const TermSetup&) {
  return std::make_unique<RepetitionTerm>(config);
}

}  // namespace limbic::rewards

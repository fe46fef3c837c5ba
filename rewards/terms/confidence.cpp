#include "rewards/terms/confidence.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "rewards/terms/option.h"

namespace limbic::rewards {
namespace {

class ConfidenceTerm final : public Term {
 public:
  ConfidenceTerm(const ConfidenceConfig& config, const std::string& where)
      : config_(config), region_({config.confidence}) {
    if (config.right.empty()) match_.emplace(config.match, where);
  }

  std::vector<std::string> columns() const override {
    return match_ ? std::vector<std::string>{match_->column()} : std::vector<std::string>();
  }
  std::string depends_on() const override { return config_.right; }
  std::string tables() const override { return match_ ? match_->aliases().text() : ""; }

  std::vector<Result> score(const TermCall& call) const override {
    std::vector<Result> results;
    for (std::size_t i = 0; i < call.batch.size(); ++i) {
      results.push_back(match_ ? by_label(*call.batch[i])
                               : by_verdict(*call.batch[i], call.verdicts[i]));
    }
    return results;
  }

 private:
  Result by_label(const Completion& row) const {
    const LabelMatch::Verdict verdict = match_->compare(row);
    if (!verdict.has_gold) return Result::without_column(match_->column());
    return judge(row, verdict.right);
  }

  Result by_verdict(const Completion& row, const Result& verdict) const {
    switch (verdict.status) {
      case Status::kScored:
        return judge(row, verdict.value > 0.0);
      case Status::kNotApplicable:
        return Result::not_applicable(
            fmt::format("'{}' does not apply: {}", config_.right, verdict.detail));
      case Status::kFailed:
        break;
    }
    return Result::failed(fmt::format("'{}' failed: {}", config_.right, verdict.detail));
  }

  Result judge(const Completion& row, bool right) const {
    const std::optional<std::string_view> text = region_.find(row.text);
    const std::optional<double> stated = text ? parse_number(*text) : std::nullopt;
    if (!stated || *stated < 0.0 || *stated > 1.0) {
      return Result::scored(config_.invalid.value_or(config_.scale * worst()),
                            text ? fmt::format("'{}' is no confidence of 0 to 1", shortened(*text))
                                 : fmt::format("no {} in the completion", region_.name()));
    }
    return Result::scored(config_.scale * rule_value(*stated, right),
                          fmt::format("{} and {}", *stated, right ? "right" : "wrong"));
  }

  double rule_value(double c, bool right) const {
    const double i = right ? 1.0 : 0.0;
    const double square = (c - i) * (c - i);
    switch (config_.rule) {
      case ConfidenceRule::kLog: {
        const double kept = std::clamp(c, config_.clip, 1.0 - config_.clip);
        return std::log(right ? kept : 1.0 - kept);
      }
      case ConfidenceRule::kBrier:
        return -square;
      case ConfidenceRule::kRlcr:
        break;
    }
    return i - square;
  }

  double worst() const {
    return config_.rule == ConfidenceRule::kLog ? std::log(config_.clip) : -1.0;
  }

  ConfidenceConfig config_;
  Region region_;
  std::optional<LabelMatch> match_;
};

}  // namespace

void describe(Fields& f, ConfidenceConfig& c) {
  f.field("confidence", c.confidence, "tag that holds the number");
  f.field("right", c.right, "name of the term that tells right (above 0) from wrong");
  describe(f, c.match);
  f.choice("rule", c.rule,
           {{ConfidenceRule::kLog, "log"},
            {ConfidenceRule::kBrier, "brier"},
            {ConfidenceRule::kRlcr, "rlcr"}},
           "scoring rule");
  f.field("clip", c.clip, "log rule: the confidence is kept this far from 0 and 1",
          Bounds{.min = 0.0, .max = 0.5, .open_min = true});
  f.field("scale", c.scale, "factor of the rule", Bounds::positive());
  f.field("invalid", c.invalid, "value without a valid number; default: the worst of the rule");
  require_text(f, "confidence", c.confidence, "a tag's name");
  if (f.reading() && c.right.empty() == c.match.column.empty()) {
    f.fail("right", "got both or neither of right and column, want one of them");
  }
}

std::unique_ptr<Term> make_term(const ConfidenceConfig& config, const TermSetup& setup) {
  return std::make_unique<ConfidenceTerm>(config, setup.where);
}

}  // namespace limbic::rewards

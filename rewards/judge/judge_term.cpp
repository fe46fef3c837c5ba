#include "rewards/judge/judge_term.h"

#include <fmt/format.h>
#include <unicode/uchar.h>

#include <algorithm>
#include <future>
#include <map>

#include "data/tokenizer/utf8.h"
#include "rewards/judge/judge_prompt.h"
#include "rewards/judge/judges.h"
#include "rewards/judge/verdict_cache.h"
#include "rewards/terms/option.h"
#include "trainer/base/file.h"
#include "trainer/base/seed.h"

namespace limbic::rewards {
namespace {

// The shown part of a rubric's or a text's hash.
constexpr std::size_t kShownHash = 12;

// A text to judge; equal ones are judged once.
struct Text {
  std::string record;
  std::string hash;
};

// One vote of one judge: a verdict, or why there is none.
struct Vote {
  std::optional<Verdict> verdict;
  std::string error;
};

std::uint64_t number_of(const std::string& hexadecimal) {
  return std::stoull(hexadecimal.substr(0, 16), nullptr, 16);
}

std::int64_t letters_in(std::string_view text) {
  const std::string repaired = data::repair_utf8(text);
  std::int64_t count = 0;
  for (std::size_t at = 0; at < repaired.size();) {
    if (u_isalnum(static_cast<UChar32>(data::next_code_point(repaired, at))) != 0) ++count;
  }
  return count;
}

class JudgeTerm final : public Term {
 public:
  JudgeTerm(const JudgeConfig& config, const TermSetup& setup, Judges& judges)
      : config_(config),
        region_(config.region),
        range_(bounds_of(config.scale_to)),
        rubric_(judges.rubric(config.rubric, setup.where + ".rubric")),
        prompt_(rubric_, setup.where + ".rubric"),
        schema_(reply_schema(rubric_)),
        seed_(derive_seed(setup.context.seed, "judge")) {
    for (const std::string& name : config.endpoint) {
      endpoints_.push_back(judges.endpoint(name, setup.where + ".endpoint"));
      if (endpoints_.back()->config().logprobs && rubric_.highest() > 9) {
        throw ConfigError(fmt::format(
            "{}.endpoint: got a scale up to {} for {}, which gives log-probabilities; want at most "
            "9, one digit per value",
            setup.where, rubric_.highest(), name));
      }
    }
    if (!config.cache.empty()) cache_ = std::make_unique<VerdictCache>(config.cache);
  }

  std::vector<std::string> columns() const override { return config_.columns; }
  std::string tables() const override {
    std::string text = rubric_.hash() + "\n";
    for (const auto& endpoint : endpoints_) text += endpoint->identity() + "\n";
    return text;
  }
  void connect() const override {
    for (const auto& endpoint : endpoints_) endpoint->connect();
    if (cache_) cache_->open();
  }

  std::vector<Result> score(const TermCall& call) const override {
    std::vector<Result> results(call.batch.size());
    std::vector<Text> texts;
    std::map<std::string, std::vector<std::size_t>> rows_of;  // by the text's hash
    for (std::size_t row = 0; row < call.batch.size(); ++row) {
      const Completion& completion = *call.batch[row];
      if (const auto result = without_judge(completion)) {
        results[row] = *result;
        continue;
      }
      Text text = text_of(completion);
      std::vector<std::size_t>& rows = rows_of[text.hash];
      rows.push_back(row);
      if (rows.size() == 1) texts.push_back(std::move(text));
    }
    const std::vector<std::vector<std::vector<Vote>>> votes = ask_all(texts);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      std::vector<const std::vector<Vote>*> of_text;
      for (const auto& of_judge : votes) of_text.push_back(&of_judge[i]);
      const Result result = judged(of_text);
      for (const std::size_t row : rows_of[texts[i].hash]) results[row] = result;
    }
    return results;
  }

 private:
  std::optional<Result> without_judge(const Completion& completion) const {
    for (const std::string& column : config_.columns) {
      if (column_of(completion, column) == nullptr) return Result::without_column(column);
    }
    const auto region = region_.find(completion.text);
    if (!region) {
      return Result::scored(range_.first, fmt::format("no {} in the completion", region_.name()));
    }
    if (letters_in(*region) >= config_.min_letters) return std::nullopt;
    return Result::scored(range_.first,
                          fmt::format("fewer than {} letters and digits", config_.min_letters));
  }

  Text text_of(const Completion& completion) const {
    std::map<std::string, std::string> columns;
    for (const std::string& column : config_.columns) {
      columns[column] = *column_of(completion, column);
    }
    Text text;
    text.record = judge_record(*region_.find(completion.text),
                               config_.conversation ? completion.prompt : Json::array(), columns);
    text.hash = sha256(text.record);
    return text;
  }

  // [judge, text, vote] Judges are asked side by side.
  std::vector<std::vector<std::vector<Vote>>> ask_all(const std::vector<Text>& texts) const {
    std::vector<std::future<std::vector<std::vector<Vote>>>> asked;
    for (const auto& endpoint : endpoints_) {
      asked.push_back(std::async(std::launch::async, [&] { return ask(*endpoint, texts); }));
    }
    std::vector<std::vector<std::vector<Vote>>> votes;
    for (auto& judge : asked) votes.push_back(judge.get());
    return votes;
  }

  // [text, vote] of one judge: from the cache, else asked, up to `retries` times again.
  std::vector<std::vector<Vote>> ask(ChatEndpoint& endpoint, const std::vector<Text>& texts) const {
    std::vector<std::vector<Vote>> votes(
        texts.size(), std::vector<Vote>(static_cast<std::size_t>(config_.votes)));
    const std::string judge = endpoint.identity();
    std::vector<std::pair<std::size_t, std::size_t>> open;  // (text, vote)
    for (std::size_t i = 0; i < texts.size(); ++i) {
      for (std::size_t v = 0; v < votes[i].size(); ++v) {
        if (cache_) {
          votes[i][v].verdict = cache_->find(key_of(judge, texts[i], v), rubric_.items().size());
        }
        if (!votes[i][v].verdict) open.emplace_back(i, v);
      }
    }
    for (std::int64_t attempt = 0; attempt <= config_.retries && !open.empty(); ++attempt) {
      std::vector<ChatQuestion> questions;
      std::vector<Nonce> nonces;
      for (const auto& [i, v] : open) {
        nonces.push_back(nonce_of(texts[i], v, attempt));
        questions.push_back({prompt_.render(texts[i].record, nonces.back()), schema_,
                             derive_seed(seed_, "seed", number_of(texts[i].hash), v, attempt)});
      }
      const std::vector<ChatReply> replies = endpoint.ask(questions);
      std::vector<std::pair<std::size_t, std::size_t>> still_open;
      for (std::size_t q = 0; q < open.size(); ++q) {
        const auto [i, v] = open[q];
        votes[i][v] = read(replies[q], nonces[q], endpoint.config().logprobs);
        if (!votes[i][v].verdict) {
          still_open.push_back(open[q]);
        } else if (cache_) {
          cache_->store(key_of(judge, texts[i], v), *votes[i][v].verdict);
        }
      }
      open = std::move(still_open);
    }
    return votes;
  }

  VerdictKey key_of(const std::string& judge, const Text& text, std::size_t vote) const {
    return {judge, rubric_.hash(), text.hash, static_cast<std::int64_t>(vote)};
  }

  Nonce nonce_of(const Text& text, std::size_t vote, std::int64_t attempt) const {
    return make_nonce(seed_, rubric_.hash() + text.hash, static_cast<std::int64_t>(vote), attempt);
  }

  Vote read(const ChatReply& reply, const Nonce& nonce, bool expect) const {
    if (!reply.error.empty()) return {std::nullopt, reply.error};
    try {
      Verdict verdict = parse_verdict(rubric_, nonce.ticket, reply.content);
      if (expect) take_expectations(rubric_, reply.content, reply.tokens, verdict);
      return {std::move(verdict), ""};
    } catch (const VerdictError& error) {
      return {std::nullopt, error.what()};
    }
  }

  // Of the votes of all judges on one text.
  Result judged(const std::vector<const std::vector<Vote>*>& votes) const {
    std::vector<Verdict> means;           // [judge]
    std::vector<double> shares;           // [judge]
    std::vector<double> shares_of_votes;  // all verdicts
    for (std::size_t judge = 0; judge < votes.size(); ++judge) {
      std::vector<Verdict> verdicts;
      for (const Vote& vote : *votes[judge]) {
        if (!vote.verdict) {
          return Result::failed(fmt::format("no verdict of {}: {}", endpoints_[judge]->title(),
                                            shortened(vote.error)));
        }
        verdicts.push_back(*vote.verdict);
        shares_of_votes.push_back(rubric_share(rubric_, *vote.verdict, config_.aggregate));
      }
      means.push_back(mean_verdict(verdicts));
      shares.push_back(rubric_share(rubric_, means.back(), config_.aggregate));
    }
    double sum = 0.0;
    for (const double share : shares) sum += share;
    Result result =
        Result::scored(scaled(sum / static_cast<double>(shares.size())),
                       fmt::format("rubric {}, {}: {}", rubric_.hash().substr(0, kShownHash),
                                   endpoints_.front()->title(), shortened(means.front().reasons)));
    result.inside = parts(means, shares, shares_of_votes);
    return result;
  }

  std::vector<Component> parts(const std::vector<Verdict>& means, const std::vector<double>& shares,
                               const std::vector<double>& shares_of_votes) const {
    std::vector<Component> parts;
    const auto add = [&](const std::string& name, double value) {
      parts.push_back({name, Status::kScored, value, ""});
    };
    const Verdict mean = mean_verdict(means);
    for (std::size_t i = 0; i < mean.values.size(); ++i) {
      add(rubric_.items()[i].name, mean.values[i]);
    }
    for (std::size_t judge = 0; shares.size() > 1 && judge < shares.size(); ++judge) {
      add("by_" + endpoints_[judge]->name(), shares[judge]);
    }
    if (shares_of_votes.size() > 1) add("agreement", agreement(shares_of_votes));
    return parts;
  }

  double scaled(double share) const {
    return range_.first + share * (range_.second - range_.first);
  }

  const JudgeConfig config_;
  const Region region_;
  const std::pair<double, double> range_;
  const Rubric rubric_;
  const JudgePrompt prompt_;
  const Json schema_;
  const std::uint64_t seed_;
  std::vector<std::shared_ptr<ChatEndpoint>> endpoints_;
  std::unique_ptr<VerdictCache> cache_;
};

void check_lists(const Fields& f, const JudgeConfig& c) {
  if (c.endpoint.empty()) f.fail("endpoint", "got none, want a name under rewards.endpoints");
  for (std::size_t i = 0; i < c.endpoint.size(); ++i) {
    if (std::count(c.endpoint.begin(), c.endpoint.end(), c.endpoint[i]) > 1) {
      f.fail("endpoint", fmt::format("got '{}' twice, want each once; see `votes`", c.endpoint[i]));
    }
  }
  for (const std::string& column : c.columns) {
    if (column == "conversation" || column == "answer") {
      f.fail("columns", fmt::format("got '{}', which names another part of what the judge sees; "
                                    "want a column of another name",
                                    column));
    }
  }
}

}  // namespace

void describe(Fields& f, JudgeConfig& c) {
  f.field("rubric", c.rubric,
          "name under rewards.rubrics, emobserver, kardia or mentra (built in), or a file");
  f.field("endpoint", c.endpoint, "name under rewards.endpoints, or a list: several judges");
  f.field("votes", c.votes, "verdicts of each judge on a text", Bounds::between(1, 64));
  f.field("retries", c.retries, "how often a reply that is no verdict is asked for again",
          Bounds::between(0, 10));
  f.choice("aggregate", c.aggregate,
           {{Aggregate::kMean, "mean"}, {Aggregate::kMin, "min"}, {Aggregate::kProduct, "product"}},
           "how axes and criteria become one share");
  f.field("scale_to", c.scale_to, "[low, high]: the value of the lowest and the highest share");
  check_option(f, "scale_to", [&] { bounds_of(c.scale_to); });
  region_field(f, c.region);
  f.field("conversation", c.conversation, "show the judge the messages of the prompt");
  f.field("columns", c.columns, "columns of the row to show the judge");
  f.field("min_letters", c.min_letters,
          "letters and digits below which a text has the lowest value without being judged",
          Bounds::between(1, 100000));
  f.field("cache", c.cache, "file that keeps verdicts; empty = none");
  if (!f.reading()) return;
  require_text(f, "rubric", c.rubric, "a rubric");
  check_lists(f, c);
}

std::unique_ptr<Term> make_term(const JudgeConfig& config, const TermSetup& setup) {
  Judges none({}, 0);
  Judges& judges = setup.context.judges ? *setup.context.judges : none;
  return std::make_unique<JudgeTerm>(config, setup, judges);
}

}  // namespace limbic::rewards

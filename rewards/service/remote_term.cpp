#include "rewards/service/remote_term.h"

namespace limbic::rewards {
namespace {

class RemoteTerm final : public Term {
 public:
  RemoteTerm(const RemoteOptions& options, std::uint64_t seed) : workers_(options, seed) {}

  void connect() const override { workers_.connect(); }

  std::vector<Result> score(const TermCall& call) const override {
    std::vector<Completion> batch;
    batch.reserve(call.batch.size());
    for (const Completion* row : call.batch) batch.push_back(*row);
    std::vector<Result> results;
    for (Score& score : workers_.score(batch, call.policy_step)) {
      Result result{score.status, score.reward.value_or(0.0), ""};
      if (score.status == Status::kFailed) result.detail = first_failure(score);
      result.inside = std::move(score.components);
      results.push_back(std::move(result));
    }
    return results;
  }

 private:
  static std::string first_failure(const Score& score) {
    for (const Component& component : score.components) {
      if (component.status == Status::kFailed) return component.name + ": " + component.detail;
    }
    return "the worker gave no reason";
  }

  mutable RemoteScorer workers_;  // its state is the connections only
};

}  // namespace

void describe(Fields& f, RemoteTermConfig& c) {
  f.require("workers");
  describe(f, c.remote);
  if (f.reading() && c.remote.workers.empty()) f.fail("workers", "got none, want at least one");
}

std::unique_ptr<Term> make_term(const RemoteTermConfig& config, const TermSetup& setup) {
  return std::make_unique<RemoteTerm>(config.remote, setup.context.seed);
}

}  // namespace limbic::rewards

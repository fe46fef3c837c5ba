#include "rewards/service/remote_scorer.h"

#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <mutex>
#include <thread>

#include "rewards/local_scorer.h"
#include "tests/services/fake_worker.h"
#include "tests/unit/rewards/graph_of.h"
#include "trainer/base/error.h"

namespace limbic::rewards {
namespace {

namespace wire = reward::v1;

void expect_numbers(const std::vector<Score>& scores, int count) {
  ASSERT_EQ(scores.size(), static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    EXPECT_EQ(scores[static_cast<std::size_t>(i)].reward, static_cast<double>(i));
  }
}

// The reply of a well-behaved worker: the number that the completion is.
void answer(const wire::ScoreRequest& request, wire::ScoreReply& reply) {
  for (const wire::Sample& sample : request.samples()) {
    wire::Score* score = reply.add_scores();
    score->set_key(sample.key());
    score->set_status(wire::STATUS_SCORED);
    score->set_reward(std::stod(sample.completion()));
  }
}

TEST(RemoteScorer, KeepsOrderOverTwoWorkers) {
  const auto first = std::make_shared<EchoScorer>();
  const auto second = std::make_shared<EchoScorer>();
  RewardServer a(loopback(), first);
  RewardServer b(loopback(), second);
  RemoteOptions options = remote({a.address(), b.address()});
  options.max_batch = 10;
  RemoteScorer scorer(options, 1);
  scorer.connect();
  expect_numbers(scorer.score(numbers(100), 0), 100);
  EXPECT_EQ(first->samples + second->samples, 100);
  EXPECT_GT(first->samples, 0);
  EXPECT_GT(second->samples, 0);
}

TEST(RemoteScorer, PassesThePolicyStep) {
  RewardServer server(loopback(), std::make_shared<EchoScorer>());
  RemoteScorer scorer(remote({server.address()}), 1);
  EXPECT_EQ(scorer.score(numbers(1), 40).at(0).reward, 40.0);
}

TEST(RemoteScorer, GivesTheScoresOfTheSameGraphInProcess) {
  const NodeConfig graph = graph_config(
      "{combine: sum, terms: [{name: format, type: tags, weight: 0.2, tags: [answer]}, {name: "
      "emotion, type: label, weight: 0.8, column: label, region: answer}]}");
  const auto local = std::make_shared<LocalScorer>(graph, GraphContext{});
  RewardServer server(loopback(), local);
  RemoteScorer scorer(remote({server.address()}), 1);
  std::vector<Completion> batch = {completion("<answer>joy</answer>", {{"label", "joy"}}),
                                   completion("joy", {{"label", "joy"}}),
                                   completion("<answer>joy</answer>")};
  for (std::size_t i = 0; i < batch.size(); ++i) batch[i].key = std::to_string(i);
  EXPECT_EQ(scorer.score(batch, 0), local->score(batch, 0));
  EXPECT_EQ(scorer.describe().graph_hash, local->describe().graph_hash);
  EXPECT_EQ(scorer.describe().terms, local->describe().terms);
}

TEST(RemoteScorer, AWorkerThatComesBackCostsWaitingOnly) {
  auto server = std::make_unique<RewardServer>(loopback(), std::make_shared<EchoScorer>());
  ServeConfig same_place;
  same_place.address = server->address();
  RemoteScorer scorer(remote({server->address()}), 1);
  expect_numbers(scorer.score(numbers(3), 0), 3);
  server.reset();
  std::vector<Score> scores;
  std::thread scoring([&] { scores = scorer.score(numbers(3), 0); });
  server = std::make_unique<RewardServer>(same_place, std::make_shared<EchoScorer>());
  scoring.join();
  expect_numbers(scores, 3);
}

TEST(RemoteScorer, ADeadWorkersShareGoesToTheOther) {
  RewardServer alive(loopback(), std::make_shared<EchoScorer>());
  std::string gone;
  {
    RewardServer dead(loopback(), std::make_shared<EchoScorer>());
    gone = dead.address();
  }
  RemoteOptions options = remote({gone, alive.address()});
  options.max_batch = 5;
  expect_numbers(RemoteScorer(options, 1).score(numbers(40), 0), 40);
}

TEST(RemoteScorer, NanAndInfinityBecomeFailedOutcomes) {
  ScriptedWorker worker([](const wire::ScoreRequest& request, wire::ScoreReply& reply, int) {
    answer(request, reply);
    for (wire::Score& score : *reply.mutable_scores()) {
      if (score.reward() == 1.0) score.set_reward(std::numeric_limits<double>::quiet_NaN());
      if (score.reward() == 2.0) score.set_reward(-std::numeric_limits<double>::infinity());
    }
    return grpc::Status::OK;
  });
  const auto scores = RemoteScorer(remote({worker.address()}), 1).score(numbers(4), 0);
  EXPECT_EQ(scores[0].reward, 0.0);
  EXPECT_EQ(scores[3].reward, 3.0);
  for (const std::size_t i : {1, 2}) {
    EXPECT_EQ(scores[i].status, Status::kFailed);
    EXPECT_FALSE(scores[i].reward.has_value());
  }
}

TEST(RemoteScorer, MatchesShuffledRepliesByKey) {
  ScriptedWorker worker([](const wire::ScoreRequest& request, wire::ScoreReply& reply, int) {
    answer(request, reply);
    reply.mutable_scores()->SwapElements(0, reply.scores_size() - 1);
    return grpc::Status::OK;
  });
  expect_numbers(RemoteScorer(remote({worker.address()}), 1).score(numbers(5), 0), 5);
}

TEST(RemoteScorer, AsksAgainForWrongMissingAndDoubledKeys) {
  ScriptedWorker worker([](const wire::ScoreRequest& request, wire::ScoreReply& reply, int call) {
    answer(request, reply);
    if (call > 0) return grpc::Status::OK;
    reply.mutable_scores(0)->set_key("stranger");
    *reply.add_scores() = reply.scores(1);
    reply.mutable_scores()->DeleteSubrange(2, 1);
    return grpc::Status::OK;
  });
  expect_numbers(RemoteScorer(remote({worker.address()}), 1).score(numbers(5), 0), 5);
}

TEST(RemoteScorer, KeysThatStayMissingAreFailed) {
  ScriptedWorker worker(
      [](const wire::ScoreRequest&, wire::ScoreReply&, int) { return grpc::Status::OK; });
  const auto scores = RemoteScorer(remote({worker.address()}), 1).score(numbers(1), 0);
  EXPECT_EQ(scores[0], failed_score("transport", "got 0 scores for the key, want 1"));
}

TEST(RemoteScorer, TriesAgainAfterTransientStatuses) {
  ScriptedWorker worker([](const wire::ScoreRequest& request, wire::ScoreReply& reply, int call) {
    if (call == 0) return grpc::Status(grpc::UNAVAILABLE, "draining");
    if (call == 1) return grpc::Status(grpc::RESOURCE_EXHAUSTED, "busy");
    answer(request, reply);
    return grpc::Status::OK;
  });
  expect_numbers(RemoteScorer(remote({worker.address()}), 1).score(numbers(2), 0), 2);
}

TEST(RemoteScorer, AScorerThatKeepsThrowingGivesFailedOutcomes) {
  RewardServer server(loopback(), std::make_shared<EchoScorer>());
  std::vector<Completion> batch = numbers(1);
  batch[0].text = "no number";
  const auto scores = RemoteScorer(remote({server.address()}), 1).score(batch, 0);
  EXPECT_EQ(scores[0].status, Status::kFailed);
}

TEST(RemoteScorer, ASampleBeyondTheMessageLimitFailsAlone) {
  RewardServer server(loopback(), std::make_shared<EchoScorer>());
  std::vector<Completion> batch = numbers(3);
  batch[1].columns["blob"] = std::string(16 << 20, 'x');
  const auto scores = RemoteScorer(remote({server.address()}), 1).score(batch, 0);
  EXPECT_EQ(scores[0].reward, 0.0);
  EXPECT_EQ(scores[1].status, Status::kFailed);
  EXPECT_EQ(scores[2].reward, 2.0);
}

std::string dead_address() {
  RewardServer server(loopback(), std::make_shared<EchoScorer>());
  return server.address();
}

template <class Action>
std::string remote_error_of(Action action) {
  try {
    action();
  } catch (const RemoteError& error) {
    return error.what();
  }
  return "no error";
}

TEST(RemoteScorer, ConnectNamesTheWorkerThatDoesNotAnswer) {
  RemoteOptions options = remote({dead_address()});
  options.deadline_s = 0.3;
  RemoteScorer scorer(options, 1);
  const auto start = std::chrono::steady_clock::now();
  const std::string error = remote_error_of([&] { scorer.connect(); });
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
  EXPECT_EQ(error.find("rewards.workers: got no answer from " + options.workers[0] +
                       " within 0.3 s (UNAVAILABLE"),
            0u)
      << error;
  EXPECT_NE(error.find("want a serving limbic reward worker; start it with limbic serve"),
            std::string::npos);
}

TEST(RemoteScorer, GivesUpAfterTheConfiguredSilence) {
  RemoteOptions options = remote({dead_address()});
  options.unreachable_after_s = 0.3;
  RemoteScorer scorer(options, 1);
  const auto start = std::chrono::steady_clock::now();
  const std::string error = remote_error_of([&] { scorer.score(numbers(2), 0); });
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
  EXPECT_NE(error.find(options.workers[0]), std::string::npos) << error;
  EXPECT_NE(error.find("for 0.3 s"), std::string::npos) << error;
}

TEST(RemoteScorer, ACallThatHangsMeetsItsDeadline) {
  std::mutex hold;
  hold.lock();
  ScriptedWorker worker([&](const wire::ScoreRequest&, wire::ScoreReply&, int) {
    const std::lock_guard<std::mutex> until_the_end(hold);
    return grpc::Status::OK;
  });
  RemoteOptions options = remote({worker.address()});
  options.deadline_s = 0.1;
  options.unreachable_after_s = 0.2;
  RemoteScorer scorer(options, 1);
  const std::string error = remote_error_of([&] { scorer.score(numbers(1), 0); });
  hold.unlock();
  EXPECT_NE(error.find("DEADLINE_EXCEEDED"), std::string::npos) << error;
}

TEST(RemoteScorer, AStrangeServiceIsRefusedAtOnce) {
  ScriptedWorker worker([](const wire::ScoreRequest&, wire::ScoreReply&, int) {
    return grpc::Status(grpc::PERMISSION_DENIED, "who are you");
  });
  RemoteScorer scorer(remote({worker.address()}), 1);
  EXPECT_NE(remote_error_of([&] { scorer.score(numbers(1), 0); }).find("PERMISSION_DENIED"),
            std::string::npos);
}

TEST(RemoteTerm, MixesWorkersIntoALocalGraph) {
  RewardServer server(
      loopback(), std::make_shared<LocalScorer>(
                      graph_config("{name: emotion, type: label, column: label}"), GraphContext{}));
  const NodeConfig config = graph_config(
      "{combine: sum, terms: [{name: length, type: length, max: 3, unit: words}, {name: far, type: "
      "remote, weight: 2, workers: [\"" +
      server.address() + "\"]}]}");
  LocalScorer scorer(config, GraphContext{});
  scorer.connect();
  const std::vector<Completion> batch = {completion("joy", {{"label", "joy"}})};
  const Score score = scorer.score(batch, 0).at(0);
  EXPECT_EQ(score.reward, 3.0);
  EXPECT_EQ(component_of(score, "far").value, 1.0);
  EXPECT_EQ(component_of(score, "far/emotion").value, 1.0);
}

}  // namespace
}  // namespace limbic::rewards

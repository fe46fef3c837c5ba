#include "rewards/judge/chat_endpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

#include "trainer/base/error.h"
#include "trainer/base/log.h"

namespace limbic::rewards {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kLongestNap{1000};
constexpr milliseconds kConnectPoll{100};

// The questions of one `ask`. Guarded by the endpoint's mutex once it is handed over.
struct Batch {
  std::vector<ChatReply> replies;
  std::size_t open = 0;
  std::exception_ptr error;
  std::condition_variable done;
};

struct Question {
  std::shared_ptr<Batch> batch;
  std::size_t place = 0;
  std::string body;
  std::int64_t tokens = 0;
};

}  // namespace

struct ChatEndpoint::Impl {
  Impl(const std::string& endpoint, const EndpointConfig& settings, std::uint64_t seed)
      : name(endpoint),
        config(settings),
        key(resolve_api_key(settings.api_key, "rewards.endpoints." + endpoint + ".api_key")),
        plan(settings.limits, seed),
        driver([this] { run(); }) {}

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    transfers.wake();
    driver.join();
  }

  HttpRequest request(const std::string& path, std::string body) const {
    HttpRequest out{config.url + path, std::move(body), {}, config.deadline_s};
    if (!key.empty()) out.headers.push_back("Authorization: Bearer " + key);
    if (!out.body.empty()) out.headers.push_back("Content-Type: application/json");
    return out;
  }

  void run();
  void take_new();
  void start_ready();
  void finish(std::uint64_t id, const HttpReply& reply);
  void deliver(std::uint64_t id, ChatReply reply);
  void fail_all(const std::string& message);

  const std::string name;
  const EndpointConfig config;
  const std::string key;

  // Of the driving thread alone.
  CallPlan plan;
  HttpTransfers transfers;
  std::map<std::uint64_t, Question> questions;
  std::uint64_t next_id = 1;

  std::mutex mutex;  // guards what follows, and batches
  std::vector<Question> fresh;
  bool stopping = false;

  std::thread driver;  // last: it uses all of the above
};

void ChatEndpoint::Impl::take_new() {
  const std::lock_guard lock(mutex);
  for (Question& question : fresh) {
    plan.add(next_id, question.tokens, Clock::now());
    questions.emplace(next_id++, std::move(question));
  }
  fresh.clear();
}

void ChatEndpoint::Impl::start_ready() {
  while (const auto id = plan.next(Clock::now())) {
    transfers.start(*id, request("/chat/completions", questions.at(*id).body));
  }
}

void ChatEndpoint::Impl::run() {
  while (true) {
    {
      const std::lock_guard lock(mutex);
      if (stopping) return;
    }
    take_new();
    start_ready();
    if (plan.out_of_patience(Clock::now())) {
      fail_all(fmt::format("got no answer for {} s ({}), want a server at {}",
                           config.limits.unreachable_after_s, plan.complaint(), config.url));
    }
    const Clock::time_point now = Clock::now();
    const auto until = std::chrono::ceil<milliseconds>(plan.wake_at(now) - now);
    for (auto& [id, reply] : transfers.wait(std::clamp(until, milliseconds(0), kLongestNap))) {
      // What was on its way when everything failed has no question any more.
      if (questions.contains(id)) finish(id, reply);
    }
  }
}

void ChatEndpoint::Impl::finish(std::uint64_t id, const HttpReply& reply) {
  const Clock::time_point now = Clock::now();
  const Meaning meaning = meaning_of(reply);
  const std::string outcome =
      meaning == Meaning::kAnswer ? std::string() : outcome_text(reply, key);
  const auto warn = [&](const char* what) {
    spdlog::warn("judge endpoint {}: {}; {}", name, outcome, what);
  };
  switch (meaning) {
    case Meaning::kAnswer: {
      ChatReply answer = read_chat_reply(config, reply.body);
      plan.answered(id, answer.spent, now);
      deliver(id, std::move(answer));
      return;
    }
    case Meaning::kBusy:
      warn("waiting");
      plan.busy(id, reply.retry_after_s, outcome, now);
      return;
    case Meaning::kTryAgain:
      if (plan.lost(id, outcome, now)) {
        warn("trying again");
      } else {
        deliver(id, {"", {}, {}, outcome});
      }
      return;
    case Meaning::kRefused:
      plan.answered(id, std::nullopt, now);
      deliver(id, {"", {}, {}, outcome});
      return;
    case Meaning::kGiveUp:
      fail_all(
          fmt::format("got {} from {}, want chat completions; are url, model and api_key right?",
                      outcome, config.url));
      return;
  }
}

void ChatEndpoint::Impl::deliver(std::uint64_t id, ChatReply reply) {
  const auto entry = questions.find(id);
  const Question question = std::move(entry->second);
  questions.erase(entry);
  const std::lock_guard lock(mutex);
  question.batch->replies[question.place] = std::move(reply);
  if (--question.batch->open == 0) question.batch->done.notify_all();
}

void ChatEndpoint::Impl::fail_all(const std::string& message) {
  transfers.abort_all();
  plan.clear();
  const auto error =
      std::make_exception_ptr(RemoteError(fmt::format("rewards.endpoints.{}: {}", name, message)));
  const std::lock_guard lock(mutex);
  for (auto& [id, question] : questions) {
    question.batch->error = error;
    question.batch->done.notify_all();
  }
  questions.clear();
}

ChatEndpoint::ChatEndpoint(std::string name, const EndpointConfig& config, std::uint64_t seed)
    : name_(std::move(name)),
      config_(config),
      impl_(std::make_unique<Impl>(name_, config, derive_seed(seed, "judge_retry"))) {}

ChatEndpoint::~ChatEndpoint() = default;

std::vector<ChatReply> ChatEndpoint::ask(std::span<const ChatQuestion> questions) {
  if (questions.empty()) return {};
  const auto batch = std::make_shared<Batch>();
  batch->replies.resize(questions.size());
  batch->open = questions.size();
  std::vector<Question> ready;
  for (std::size_t i = 0; i < questions.size(); ++i) {
    ready.push_back(
        {batch, i, chat_body(config_, questions[i]), expected_tokens(config_, questions[i])});
  }
  std::unique_lock lock(impl_->mutex);
  std::move(ready.begin(), ready.end(), std::back_inserter(impl_->fresh));
  impl_->transfers.wake();
  batch->done.wait(lock, [&] { return batch->open == 0 || batch->error; });
  if (batch->error) std::rethrow_exception(batch->error);
  return std::move(batch->replies);
}

void ChatEndpoint::connect() {
  const Clock::time_point deadline =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(
                         std::chrono::duration<double>(config_.deadline_s));
  HttpTransfers transfers;
  while (true) {
    transfers.start(1, impl_->request("/models", ""));
    std::vector<std::pair<std::uint64_t, HttpReply>> ended;
    while (ended.empty()) ended = transfers.wait(kLongestNap);
    const HttpReply& reply = ended.front().second;
    const std::string outcome = outcome_text(reply, impl_->key);
    if (reply.status == 401 || reply.status == 403) {
      throw RemoteError(
          fmt::format("rewards.endpoints.{}.api_key: got {} from {}, want a key that "
                      "it takes",
                      name_, outcome, config_.url));
    }
    // A server without a list of models is a server.
    if (reply.status != 0 && reply.status < 500) return;
    if (Clock::now() + kConnectPoll >= deadline) {
      throw RemoteError(
          fmt::format("rewards.endpoints.{}: got no answer from {} within {} s ({}), "
                      "want an OpenAI-compatible server",
                      name_, config_.url, config_.deadline_s, outcome));
    }
    std::this_thread::sleep_for(kConnectPoll);
  }
}

std::string ChatEndpoint::identity() const {
  const Json settings = {{"endpoint", name_},
                         {"model", config_.model},
                         {"temperature", config_.temperature},
                         {"max_tokens", config_.max_tokens},
                         {"response_format", static_cast<int>(config_.response_format)},
                         {"logprobs", config_.logprobs},
                         {"extra", config_.extra}};
  return settings.dump(-1, ' ', true);
}

}  // namespace limbic::rewards

#include "rewards/service/wire.h"

#include <fmt/format.h>
#include <grpc/support/log.h>

#include <cmath>

#include "data/tokenizer/utf8.h"
#include "proto/reward.pb.h"
#include "trainer/base/log.h"

namespace limbic::rewards {
namespace {

namespace wire = reward::v1;

std::string valid(const std::string& text) {
  return data::find_invalid_utf8(text) == std::string::npos ? text : data::repair_utf8(text);
}

wire::Status to_wire(Status status) {
  switch (status) {
    case Status::kScored:
      return wire::STATUS_SCORED;
    case Status::kNotApplicable:
      return wire::STATUS_NOT_APPLICABLE;
    case Status::kFailed:
      return wire::STATUS_FAILED;
  }
  return wire::STATUS_FAILED;
}

std::string text_of(const Json& message, const char* key) {
  if (!message.is_object() || !message.contains(key)) return "";
  const Json& value = message[key];
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// Status and number of a score or a component; `fault` says what breaks the protocol.
struct Reading {
  Status status = Status::kFailed;
  std::optional<double> number;
  std::string fault;
};

template <class Message>
Reading read(const Message& message, bool has_number, double number) {
  switch (message.status()) {
    case wire::STATUS_SCORED:
      if (!has_number) return {Status::kFailed, std::nullopt, "scored without a number"};
      if (!std::isfinite(number)) {
        return {Status::kFailed, std::nullopt, fmt::format("got {}, want a finite value", number)};
      }
      return {Status::kScored, number, ""};
    case wire::STATUS_NOT_APPLICABLE:
      if (has_number) return {Status::kFailed, std::nullopt, "not applicable with a number"};
      return {Status::kNotApplicable, std::nullopt, ""};
    case wire::STATUS_FAILED:
      return {Status::kFailed, std::nullopt, ""};
    default:
      return {Status::kFailed, std::nullopt,
              fmt::format("got the status {}", static_cast<int>(message.status()))};
  }
}

}  // namespace

void take_log_of_grpc() {
  gpr_set_log_function([](gpr_log_func_args* line) { spdlog::debug("gRPC: {}", line->message); });
}

void to_wire(const Completion& completion, wire::Sample& out) {
  out.set_key(valid(completion.key));
  out.set_group(valid(completion.group));
  for (const Json& message : completion.prompt) {
    wire::Message* item = out.add_prompt();
    item->set_role(valid(text_of(message, "role")));
    item->set_content(valid(text_of(message, "content")));
  }
  out.set_completion(valid(completion.text));
  out.mutable_completion_ids()->Add(completion.ids.begin(), completion.ids.end());
  out.set_truncated(completion.truncated);
  for (const auto& [name, value] : completion.columns) {
    (*out.mutable_columns())[valid(name)] = valid(value);
  }
}

Completion from_wire(const wire::Sample& sample) {
  Completion completion;
  completion.key = sample.key();
  completion.group = sample.group();
  for (const wire::Message& message : sample.prompt()) {
    completion.prompt.push_back({{"role", message.role()}, {"content", message.content()}});
  }
  completion.text = sample.completion();
  completion.ids.assign(sample.completion_ids().begin(), sample.completion_ids().end());
  completion.truncated = sample.truncated();
  for (const auto& [name, value] : sample.columns()) completion.columns[name] = value;
  return completion;
}

void to_wire(const Score& score, const std::string& key, wire::Score& out) {
  out.set_key(key);
  out.set_status(to_wire(score.status));
  if (score.reward) out.set_reward(*score.reward);
  for (const Component& component : score.components) {
    wire::Component* item = out.add_components();
    item->set_name(valid(component.name));
    item->set_status(to_wire(component.status));
    if (component.value) item->set_value(*component.value);
    item->set_detail(valid(component.detail));
  }
}

Score from_wire(const wire::Score& score) {
  const Reading whole = read(score, score.has_reward(), score.reward());
  Score out{whole.status, whole.number, {}};
  std::string fault = whole.fault;
  for (const wire::Component& component : score.components()) {
    const Reading part = read(component, component.has_value(), component.value());
    out.components.push_back({component.name(), part.status, part.number,
                              part.fault.empty() ? component.detail() : part.fault});
    if (!part.fault.empty()) fault = component.name() + ": " + part.fault;
    if (part.status == Status::kFailed && whole.status == Status::kScored && fault.empty()) {
      fault = component.name() + " failed, but the whole is scored";
    }
  }
  if (fault.empty()) return out;
  out.status = Status::kFailed;
  out.reward.reset();
  if (!whole.fault.empty()) {
    out.components.push_back({"protocol", Status::kFailed, std::nullopt, whole.fault});
  }
  return out;
}

void to_wire(const Description& description, wire::DescribeReply& out) {
  for (const TermInfo& term : description.terms) {
    wire::TermDescription* item = out.add_terms();
    item->set_name(term.name);
    item->set_type(term.type);
    item->set_version(term.version);
    for (const std::string& column : term.columns) item->add_columns(column);
    item->set_group_level(term.group_level);
  }
  out.set_version(description.version);
  out.set_graph_hash(description.graph_hash);
  out.set_max_batch(static_cast<std::int32_t>(description.max_batch));
}

Description from_wire(const wire::DescribeReply& reply) {
  Description description{{}, reply.version(), reply.graph_hash(), reply.max_batch()};
  for (const wire::TermDescription& term : reply.terms()) {
    description.terms.push_back({term.name(),
                                 term.type(),
                                 term.version(),
                                 {term.columns().begin(), term.columns().end()},
                                 term.group_level()});
  }
  return description;
}

}  // namespace limbic::rewards

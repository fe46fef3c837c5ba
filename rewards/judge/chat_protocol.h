// The wire of judges: chat completions of the OpenAI-compatible HTTP API, as vLLM, SGLang,
// llama.cpp and the hosted services speak it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rewards/judge/call_plan.h"
#include "rewards/judge/http_transfers.h"
#include "rewards/judge/verdict.h"
#include "trainer/base/fields.h"

namespace limbic::rewards {

enum class ResponseFormat { kJsonSchema, kJsonObject, kNone };

struct EndpointConfig {
  std::string url;    // "http://127.0.0.1:8000/v1": what stands before /chat/completions
  std::string model;  // as the endpoint names it
  Json api_key;       // env:NAME or file:PATH, never the key itself: kept as it is written
  double temperature = 0.0;
  std::int64_t max_tokens = 512;  // of a reply
  ResponseFormat response_format = ResponseFormat::kJsonSchema;
  bool logprobs = false;  // the endpoint gives log-probabilities: values become expectations
  Json extra;             // further fields of the request
  double deadline_s = 30.0;
  CallLimits limits;
};
void describe(Fields& f, EndpointConfig& c);

// Throws ConfigError that begins with `where` and never shows a key: the variable is not set, the
// file cannot be read or is open to others than its owner, the key holds control characters.
std::string resolve_api_key(const Json& reference, const std::string& where);

struct ChatQuestion {
  std::string prompt;
  Json schema;
  std::uint64_t seed = 0;
};

struct ChatReply {
  std::string content;
  std::vector<TokenChoice> tokens;    // with `logprobs`
  std::optional<std::int64_t> spent;  // tokens, when the endpoint says it
  std::string error;                  // not empty: there is no usable content, and why
};

// The body of POST .../chat/completions.
std::string chat_body(const EndpointConfig& config, const ChatQuestion& question);

// Roughly: 4 bytes make a token, and a reply takes all it may.
std::int64_t expected_tokens(const EndpointConfig& config, const ChatQuestion& question);

// What a reply with status 200 says. Never throws: what is malformed is an error of the reply.
ChatReply read_chat_reply(const EndpointConfig& config, const std::string& body);

// What an HTTP outcome means for a call.
enum class Meaning {
  kAnswer,    // 200
  kBusy,      // fewer calls, please: 429, or 503 with Retry-After
  kTryAgain,  // no reply, 408, 409, 425, 5xx
  kRefused,   // this question is not taken: 400, 413, 422
  kGiveUp     // nothing will be: wrong key, path, model, redirects
};
Meaning meaning_of(const HttpReply& reply);

// "503: overloaded", short and without the key.
std::string outcome_text(const HttpReply& reply, const std::string& secret);

}  // namespace limbic::rewards

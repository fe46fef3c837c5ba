#include "rewards/judge/chat_protocol.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "rewards/terms/option.h"
#include "rewards/text.h"
#include "trainer/base/file.h"

namespace limbic::rewards {
namespace {

constexpr int kTopLogprobs = 20;  // the most that the API gives
constexpr std::size_t kMaxTokens = 1 << 16;

// Fields of the request that the config decides under names of its own.
constexpr std::array<std::string_view, 11> kOwnFields = {
    "model",           "messages", "temperature",  "max_tokens",           "seed", "n", "stream",
    "response_format", "logprobs", "top_logprobs", "max_completion_tokens"};

class Unusable : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A field of a foreign object, or null.
const Json& at(const Json& value, const char* key) {
  static const Json nothing;
  if (!value.is_object()) return nothing;
  const auto found = value.find(key);
  return found == value.end() ? nothing : *found;
}

// Servers do not agree on what a token that is half a character looks like as text; bytes are
// exact where they are given.
std::string token_text(const Json& token) {
  const Json& bytes = at(token, "bytes");
  if (bytes.is_array()) {
    std::string text;
    for (const Json& byte : bytes) {
      if (!byte.is_number_integer() || byte < 0 || byte > 255) {
        throw Unusable("got bytes of a token that are none");
      }
      text += static_cast<char>(byte.get<int>());
    }
    return text;
  }
  const Json& text = at(token, "token");
  if (!text.is_string()) throw Unusable("got a log-probability without a token");
  return text.get<std::string>();
}

std::vector<TokenChoice> read_tokens(const Json& choice) {
  const Json& list = at(at(choice, "logprobs"), "content");
  if (!list.is_array() || list.empty()) {
    throw Unusable("got no log-probabilities, want them; set `logprobs: false` for this endpoint");
  }
  if (list.size() > kMaxTokens) throw Unusable("got log-probabilities of too many tokens");
  std::vector<TokenChoice> tokens;
  for (const Json& token : list) {
    TokenChoice read{token_text(token), {}};
    const Json& alternatives = at(token, "top_logprobs");
    for (const Json& other : alternatives.is_array() ? alternatives : Json::array()) {
      const Json& value = at(other, "logprob");
      const double logprob = value.is_number() ? value.get<double>() : std::nan("");
      if (!(logprob <= 1e-6))
        throw Unusable("got a log-probability above 0, want one of at most 0");
      read.alternatives.emplace_back(token_text(other), logprob);
    }
    tokens.push_back(std::move(read));
  }
  return tokens;
}

void read_choice(const EndpointConfig& config, const Json& body, ChatReply& reply) {
  const Json& choices = at(body, "choices");
  if (!choices.is_array() || choices.size() != 1) {
    throw Unusable(fmt::format("got {} choices, want 1", choices.is_array() ? choices.size() : 0));
  }
  const Json& choice = choices[0];
  const Json& message = at(choice, "message");
  if (at(message, "refusal").is_string()) throw Unusable("got a refusal, want a verdict");
  if (at(choice, "finish_reason") == "length") {
    throw Unusable(
        fmt::format("got a reply cut at max_tokens = {}, want a whole one", config.max_tokens));
  }
  const Json& content = at(message, "content");
  if (!content.is_string()) throw Unusable("got no content, want text");
  reply.content = content.get<std::string>();
  if (config.logprobs) reply.tokens = read_tokens(choice);
}

bool is_key_reference(const Json& reference) {
  if (!reference.is_string()) return false;
  const auto& text = reference.get_ref<const std::string&>();
  return (text.starts_with("env:") && text.size() > 4) ||
         (text.starts_with("file:") && text.size() > 5);
}

std::string read_key_file(const std::string& path, const std::string& where) {
  using std::filesystem::perms;
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (error || !std::filesystem::is_regular_file(status)) {
    throw ConfigError(
        fmt::format("{}: got no file '{}', want one that holds the key", where, path));
  }
  if ((status.permissions() & (perms::group_all | perms::others_all)) != perms::none) {
    throw ConfigError(fmt::format(
        "{}: got '{}' open to others, want mode 0600; run chmod 600 on it", where, path));
  }
  return std::string(strip(read_file(path)));
}

void check_url(const Fields& f, const std::string& url) {
  const bool http = url.starts_with("http://") || url.starts_with("https://");
  const bool plain = url.find_first_of(" \t\r\n?#@") == std::string::npos;
  if (!http || !plain || url.ends_with('/')) {
    f.fail("url", fmt::format("got '{}', want http(s)://HOST[:PORT]/PATH that /chat/completions is "
                              "added to, without user, query and final /",
                              shortened(url)));
  }
}

}  // namespace

void describe(Fields& f, EndpointConfig& c) {
  f.field("url", c.url, "http(s)://HOST:PORT/v1 of an OpenAI-compatible server");
  f.field("model", c.model, "name of the model there");
  f.field("api_key", c.api_key, "env:NAME or file:PATH (mode 0600) of the key; absent = none");
  f.field("temperature", c.temperature, "of the judge; 0 = its likeliest reply",
          Bounds::between(0.0, 2.0));
  f.field("max_tokens", c.max_tokens, "length limit of a reply", Bounds::between(16, 32768));
  f.choice("response_format", c.response_format,
           {{ResponseFormat::kJsonSchema, "json_schema"},
            {ResponseFormat::kJsonObject, "json_object"},
            {ResponseFormat::kNone, "none"}},
           "how the endpoint is told the form of a reply; replies are checked all the same");
  f.field("logprobs", c.logprobs,
          "the endpoint gives log-probabilities: values become expectations over them");
  f.field("extra", c.extra, "further fields of the request, as the server wants them");
  f.field("deadline_s", c.deadline_s, "seconds for one call", Bounds::positive());
  describe(f, c.limits);
  if (!f.reading()) return;
  check_url(f, c.url);
  require_text(f, "model", c.model, "the model's name at the endpoint");
  if (!c.api_key.is_null() && !is_key_reference(c.api_key)) {
    f.fail("api_key",
           "got something else, want env:NAME or file:PATH; keys do not stand in files "
           "of settings");
  }
  if (!c.extra.is_null() && !c.extra.is_object()) f.fail("extra", "got no section, want one");
  for (const std::string_view name : kOwnFields) {
    if (c.extra.is_object() && c.extra.contains(name)) {
      f.fail("extra",
             fmt::format("got '{}', want only fields that have no key of their own", name));
    }
  }
}

std::string resolve_api_key(const Json& reference, const std::string& where) {
  if (reference.is_null()) return {};
  check(is_key_reference(reference), "a key that was never read");
  const auto& text = reference.get_ref<const std::string&>();
  std::string key;
  if (text.starts_with("env:")) {
    const char* value = std::getenv(text.c_str() + 4);
    if (value == nullptr) {
      throw ConfigError(
          fmt::format("{}: got '{}', want that environment variable to be set", where, text));
    }
    key = value;
  } else {
    key = read_key_file(text.substr(5), where);
  }
  const bool printable =
      std::all_of(key.begin(), key.end(), [](char c) { return c > 0x20 && c < 0x7F; });
  if (key.empty() || !printable) {
    throw ConfigError(
        fmt::format("{}: got a key that is empty or holds spaces or control characters behind '{}'",
                    where, text));
  }
  return key;
}

std::string chat_body(const EndpointConfig& config, const ChatQuestion& question) {
  Json body = config.extra.is_object() ? config.extra : Json::object();
  body["model"] = config.model;
  body["messages"] = Json::array({{{"role", "user"}, {"content", question.prompt}}});
  body["temperature"] = config.temperature;
  body["max_tokens"] = config.max_tokens;
  body["seed"] = question.seed & 0x7FFFFFFF;  // what every server takes
  if (config.logprobs) {
    body["logprobs"] = true;
    body["top_logprobs"] = kTopLogprobs;
  }
  switch (config.response_format) {
    case ResponseFormat::kJsonSchema:
      body["response_format"] = {
          {"type", "json_schema"},
          {"json_schema", {{"name", "verdict"}, {"strict", true}, {"schema", question.schema}}}};
      break;
    case ResponseFormat::kJsonObject:
      body["response_format"] = {{"type", "json_object"}};
      break;
    case ResponseFormat::kNone:
      break;
  }
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::int64_t expected_tokens(const EndpointConfig& config, const ChatQuestion& question) {
  return static_cast<std::int64_t>(question.prompt.size() / 4) + config.max_tokens;
}

ChatReply read_chat_reply(const EndpointConfig& config, const std::string& body) {
  ChatReply reply;
  // Deeper than any chat completion; destroying and copying deep trees recurses.
  constexpr int kMaxDepth = 32;
  bool too_deep = false;
  const auto shallow = [&](int depth, Json::parse_event_t, const Json&) {
    too_deep = too_deep || depth > kMaxDepth;
    return depth <= kMaxDepth;
  };
  const Json parsed = Json::parse(body, shallow, false);
  if (too_deep || !parsed.is_object()) {
    reply.error = "got no JSON object from the endpoint, want a chat completion";
    return reply;
  }
  const Json& spent = at(at(parsed, "usage"), "total_tokens");
  if (spent.is_number_integer() && spent >= 0 && spent <= (1LL << 40)) {
    reply.spent = spent.get<std::int64_t>();
  }
  try {
    read_choice(config, parsed, reply);
  } catch (const Unusable& error) {
    reply.error = error.what();
  }
  return reply;
}

Meaning meaning_of(const HttpReply& reply) {
  switch (reply.status) {
    case 200:
      return Meaning::kAnswer;
    case 429:
      return Meaning::kBusy;
    case 503:
      return reply.retry_after_s ? Meaning::kBusy : Meaning::kTryAgain;
    case 400:
    case 413:
    case 422:
      return Meaning::kRefused;
    case 0:
    case 408:
    case 409:
    case 425:
      return Meaning::kTryAgain;
    default:
      return reply.status >= 500 ? Meaning::kTryAgain : Meaning::kGiveUp;
  }
}

std::string outcome_text(const HttpReply& reply, const std::string& secret) {
  std::string text = reply.status == 0 ? reply.error : reply.body;
  for (std::size_t at_key = secret.empty() ? std::string::npos : text.find(secret);
       at_key != std::string::npos; at_key = text.find(secret, at_key)) {
    text.replace(at_key, secret.size(), "[key]");
    at_key += 5;
  }
  const std::string shown = shortened(text);
  if (reply.status == 0) return shown;
  return shown.empty() ? fmt::format("status {}", reply.status)
                       : fmt::format("status {}: {}", reply.status, shown);
}

}  // namespace limbic::rewards

#include "rewards/judge/verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "rewards/text.h"

namespace limbic::rewards {
namespace {

constexpr std::size_t kMaxReplyBytes = 64 << 10;
constexpr double kLeastMass = 0.5;

using Kind = RubricItem::Kind;

// Reads one flat object and nothing else. Numbers keep their kind: 4.0 is no whole number.
class FlatObject final : public nlohmann::json_sax<Json> {
 public:
  explicit FlatObject(const std::string& text) {
    Json::sax_parse(text, this);
    if (!error_.empty()) throw VerdictError(error_);
  }
  std::map<std::string, Json> take() { return std::move(values_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(value); }
  bool binary(binary_t&) override { return refuse("got binary data, want JSON"); }
  bool start_object(std::size_t) override {
    if (open_) return refuse("got an object inside the reply, want plain values");
    open_ = true;
    return true;
  }
  bool key(string_t& name) override {
    key_ = name;
    return !values_.contains(name) ||
           refuse(fmt::format("got '{}' twice, want it once", shortened(name)));
  }
  bool end_object() override { return true; }
  bool start_array(std::size_t) override { return refuse("got a list, want plain values"); }
  bool end_array() override { return true; }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return refuse(fmt::format("got no JSON object alone (byte {}), want one and nothing around it",
                              position));
  }

 private:
  bool add(Json value) {
    if (!open_) return refuse("got a plain value, want a JSON object");
    values_[key_] = std::move(value);
    return true;
  }
  bool refuse(std::string reason) {
    if (error_.empty()) error_ = std::move(reason);
    return false;
  }

  std::map<std::string, Json> values_;
  std::string key_;
  std::string error_;
  bool open_ = false;
};

double value_of(const Rubric& rubric, const RubricItem& item, const Json& value) {
  if (item.kind != Kind::kAxis) {
    if (value.is_boolean()) return value.get<bool>() ? 1.0 : 0.0;
    throw VerdictError(fmt::format("{}: got {}, want true or false", item.name,
                                   shortened(value.dump(-1, ' ', true))));
  }
  const bool whole =
      value.is_number_integer() && value >= rubric.lowest() && value <= rubric.highest();
  if (whole) return value.get<double>();
  throw VerdictError(fmt::format("{}: got {}, want a whole number from {} to {}", item.name,
                                 shortened(value.dump(-1, ' ', true)), rubric.lowest(),
                                 rubric.highest()));
}

// Where the value of a key begins. The needle cannot stand inside a string of the object, as the
// quotes there are escaped, nor be a value, as a colon follows.
std::size_t value_begin(const std::string& content, const std::string& key) {
  const std::string needle = "\"" + key + "\"";
  for (std::size_t at = content.find(needle); at != std::string::npos;
       at = content.find(needle, at + 1)) {
    const std::size_t colon = content.find_first_not_of(" \t\r\n", at + needle.size());
    if (colon == std::string::npos || content[colon] != ':') continue;
    return content.find_first_not_of(" \t\r\n", colon + 1);
  }
  throw VerdictError(fmt::format("{}: got its key spelled with escapes, want it plain", key));
}

// What the text of a token says in place of a value.
std::optional<double> spelled(const Rubric& rubric, const RubricItem& item, std::string_view text) {
  if (item.kind == Kind::kAxis) {
    if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
    if (text.size() > 1 && text[1] >= '0' && text[1] <= '9') return std::nullopt;
    const int digit = text[0] - '0';
    if (digit < rubric.lowest() || digit > rubric.highest()) return std::nullopt;
    return digit;
  }
  const auto begins = [&](std::string_view word) {
    const std::size_t length = std::min(word.size(), text.size());
    return length > 0 && text.substr(0, length) == word.substr(0, length);
  };
  if (begins("true")) return 1.0;
  if (begins("false")) return 0.0;
  return std::nullopt;
}

double expectation(const Rubric& rubric, const RubricItem& item, const TokenChoice& token,
                   std::size_t inside) {
  const std::string_view before = std::string_view(token.text).substr(0, inside);
  double mass = 0.0;
  double sum = 0.0;
  for (const auto& [text, log_probability] : token.alternatives) {
    if (!std::string_view(text).starts_with(before)) continue;
    const auto value = spelled(rubric, item, std::string_view(text).substr(inside));
    if (!value) continue;
    const double probability = std::exp(log_probability);
    mass += probability;
    sum += probability * *value;
  }
  if (!(mass >= kLeastMass)) {
    throw VerdictError(
        fmt::format("{}: got {:.2f} of the probability on its values, want {} or "
                    "more",
                    item.name, mass, kLeastMass));
  }
  return sum / mass;
}

double share_of(const Rubric& rubric, const RubricItem& item, double value) {
  if (item.kind != Kind::kAxis) return item.yes_is_good ? value : 1.0 - value;
  const auto low = static_cast<double>(rubric.lowest());
  return (value - low) / (static_cast<double>(rubric.highest()) - low);
}

}  // namespace

Json reply_schema(const Rubric& rubric) {
  Json scale = Json::array();
  for (std::int64_t value = rubric.lowest(); value <= rubric.highest(); ++value) {
    scale.push_back(value);
  }
  Json properties = Json::object();
  properties[kReasonsKey] = {{"type", "string"}};
  for (const RubricItem& item : rubric.items()) {
    properties[item.name] = item.kind == Kind::kAxis ? Json{{"type", "integer"}, {"enum", scale}}
                                                     : Json{{"type", "boolean"}};
  }
  properties[kTicketKey] = {{"type", "string"}};
  Json required = Json::array();
  for (const auto& [key, value] : properties.items()) required.push_back(key);
  return {{"type", "object"},
          {"properties", std::move(properties)},
          {"required", std::move(required)},
          {"additionalProperties", false}};
}

Verdict parse_verdict(const Rubric& rubric, std::string_view ticket, const std::string& content) {
  if (content.size() > kMaxReplyBytes) {
    throw VerdictError(
        fmt::format("got a reply of {} bytes, want at most {}", content.size(), kMaxReplyBytes));
  }
  std::map<std::string, Json> values = FlatObject(content).take();
  const auto take = [&](const std::string& key) {
    const auto entry = values.extract(key);
    if (entry.empty()) throw VerdictError(fmt::format("got no '{}', want it", key));
    return entry.mapped();
  };
  const Json shown_ticket = take(kTicketKey);
  if (!shown_ticket.is_string() || shown_ticket.get_ref<const std::string&>() != ticket) {
    throw VerdictError("got another ticket, want the one of the request");
  }
  const Json reasons = take(kReasonsKey);
  if (!reasons.is_string()) {
    throw VerdictError(fmt::format("{}: got no string, want one", kReasonsKey));
  }
  Verdict verdict;
  verdict.reasons = reasons.get<std::string>();
  for (const RubricItem& item : rubric.items()) {
    verdict.values.push_back(value_of(rubric, item, take(item.name)));
  }
  if (!values.empty()) {
    throw VerdictError(
        fmt::format("got an unknown key '{}', want none", shortened(values.begin()->first)));
  }
  return verdict;
}

void take_expectations(const Rubric& rubric, const std::string& content,
                       std::span<const TokenChoice> tokens, Verdict& verdict) {
  std::string written;
  for (const TokenChoice& token : tokens) written += token.text;
  if (written != content) {
    throw VerdictError("got log-probabilities of another text, want those of the reply");
  }
  for (std::size_t i = 0; i < rubric.items().size(); ++i) {
    const RubricItem& item = rubric.items()[i];
    const std::size_t at = value_begin(content, item.name);
    std::size_t begin = 0;
    const TokenChoice* token = tokens.data();
    while (begin + token->text.size() <= at) begin += token++->text.size();
    verdict.values[i] = expectation(rubric, item, *token, at - begin);
  }
}

Verdict mean_verdict(std::span<const Verdict> votes) {
  check(!votes.empty(), "a mean of no verdicts");
  Verdict mean = votes.front();
  for (std::size_t i = 0; i < mean.values.size(); ++i) {
    double sum = 0.0;
    for (const Verdict& vote : votes) sum += vote.values[i];
    mean.values[i] = sum / static_cast<double>(votes.size());
  }
  return mean;
}

double rubric_share(const Rubric& rubric, const Verdict& verdict, Aggregate aggregate) {
  double sum = 0.0;
  double weights = 0.0;
  double least = 1.0;
  double product = 1.0;
  double ceiling = 1.0;
  for (std::size_t i = 0; i < rubric.items().size(); ++i) {
    const RubricItem& item = rubric.items()[i];
    if (item.kind == Kind::kVeto) {
      if (verdict.values[i] >= 0.5) ceiling = std::min(ceiling, item.at_most);
      continue;
    }
    const double share = share_of(rubric, item, verdict.values[i]);
    sum += item.weight * share;
    weights += item.weight;
    least = std::min(least, share);
    product *= share;
  }
  const double whole = aggregate == Aggregate::kMean  ? sum / weights
                       : aggregate == Aggregate::kMin ? least
                                                      : product;
  return std::min(whole, ceiling);
}

double agreement(std::span<const double> shares) {
  check(shares.size() > 1, "an agreement of fewer than two");
  double distance = 0.0;
  double pairs = 0.0;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    for (std::size_t j = i + 1; j < shares.size(); ++j) {
      distance += std::abs(shares[i] - shares[j]);
      pairs += 1.0;
    }
  }
  return 1.0 - distance / pairs;
}

}  // namespace limbic::rewards

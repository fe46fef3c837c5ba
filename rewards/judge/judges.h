// The endpoints and rubrics of the `rewards` section, by name, for the judge terms of one graph.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "rewards/judge/chat_endpoint.h"
#include "rewards/judge/rubric.h"

namespace limbic::rewards {

struct JudgesConfig {
  std::vector<std::pair<std::string, EndpointConfig>> endpoints;
  std::vector<std::pair<std::string, RubricConfig>> rubrics;
};
// Keys of the section that they stand in.
void describe(Fields& f, JudgesConfig& c);

// Terms that name the same endpoint share its limits. Used while a graph is built, by one thread.
class Judges {
 public:
  Judges(JudgesConfig config, std::uint64_t seed) : config_(std::move(config)), seed_(seed) {}

  // Opened when first asked for. Throws ConfigError that begins with `where`: no such endpoint.
  std::shared_ptr<ChatEndpoint> endpoint(const std::string& name, const std::string& where);
  // One of the section, else one that is built in, else a file. Throws ConfigError.
  Rubric rubric(const std::string& name, const std::string& where) const;

 private:
  JudgesConfig config_;
  std::uint64_t seed_;
  std::map<std::string, std::shared_ptr<ChatEndpoint>> open_;
};

}  // namespace limbic::rewards

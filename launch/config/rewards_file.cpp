#include "launch/config/rewards_file.h"

#include "launch/config/run_config.h"
#include "trainer/base/error.h"

namespace limbic::launch {
namespace {

struct Sections {
  rewards::RewardsConfig rewards;
  std::optional<rewards::ServeConfig> serve;
};

void describe(Fields& f, Sections& c) {
  f.require("rewards");
  f.section("rewards", c.rewards, "how completions are scored");
  f.section("serve", c.serve, "where `limbic serve` listens");
}

}  // namespace

RewardsFile load_rewards_file(const std::string& path, const std::vector<std::string>& overrides) {
  const auto document = std::make_shared<const YamlDocument>(YamlDocument::load(path, overrides));
  Sections sections;
  document->read_ignoring(sections,
                          {"run", "model", "lora", "parallel", "datasets", "stages", "eval"});
  RewardsFile file{.rewards = std::move(sections.rewards),
                   .serve = sections.serve.value_or(rewards::ServeConfig()),
                   .context = {},
                   .source = document};
  if (document->has("datasets") || document->has("stages")) {
    RunConfig whole;
    document->in_place([&] { document->read(whole); });
    file.context.seed = static_cast<std::uint64_t>(whole.run.seed);
  }
  return file;
}

std::shared_ptr<rewards::Scorer> RewardsFile::make_scorer() const {
  std::shared_ptr<rewards::Scorer> scorer;
  source->in_place([&] {
    scorer = rewards::make_scorer(rewards, context);
    scorer->connect();
  });
  return scorer;
}

}  // namespace limbic::launch

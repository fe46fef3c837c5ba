#include "rl/grpo/grpo_stage.h"

#include "rl/policy/policy_stream.h"

namespace limbic::rl {
namespace {

class GrpoSource final : public engine::StepSource {
 public:
  explicit GrpoSource(PolicyStream& stream) : stream_(stream) {}

  engine::StepReport run_step(std::int64_t step, double rate,
                              engine::TrainEngine& engine) override {
    PolicyStep& policy = stream_.begin(step);
    engine::StepReport report;
    report.result = engine.step(
        policy.size(), [&](std::size_t i) { return policy.loss(i); }, rate);
    stream_.end(step, report);
    return report;
  }
  bool at_boundary(std::int64_t step) const override { return stream_.at_boundary(step); }
  const char* headline_name() const override { return "reward"; }

 private:
  PolicyStream& stream_;
};

}  // namespace

engine::StageResult run_grpo(engine::RunContext& context, const GrpoConfig& config,
                             const model::Decoder* reference) {
  PolicyStream stream(context, config, config.data, reference);
  GrpoSource source(stream);
  const std::int64_t steps = total_steps(config, stream.prompts(), context.communicator.size());
  return engine::run_training(context, config.train, steps, source);
}

}  // namespace limbic::rl

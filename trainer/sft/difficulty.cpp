#include "trainer/sft/difficulty.h"

#include "trainer/engine/score_targets.h"
#include "trainer/parallel/collectives.h"

namespace limbic::sft {
namespace {

// Each document alone, so that its loss does not depend on its neighbours or the world size.
double mean_loss(const engine::RunContext& context, const data::Example& example) {
  const at::NoGradGuard no_grad;
  const data::PackedBatch batch = data::concat(std::span(&example, 1));
  const engine::TargetScores scored = engine::score_targets(context.decoder, batch, {});
  return -scored.scores.logprobs.to(at::kDouble).mean().item<double>();
}

std::vector<double> losses_of(engine::RunContext& context,
                              const std::vector<data::Example>& examples) {
  std::vector<double> losses(examples.size(), 0.0);
  const auto world = static_cast<std::size_t>(context.communicator.size());
  context.decoder.run_passes([&] {
    for (auto i = static_cast<std::size_t>(context.communicator.rank()); i < examples.size();
         i += world) {
      losses[i] = mean_loss(context, examples[i]);
    }
  });
  return parallel::sum(context.communicator, losses);
}

std::vector<double> of_rows(const data::Mixture& rows, const data::DifficultySource& source,
                            const data::CurriculumConfig& config) {
  if (source.kind == data::DifficultySource::Kind::kColumn) {
    return data::column_difficulty(rows, source.column);
  }
  return data::shift_difficulties(rows, *config.emotion_shifts);
}

}  // namespace

std::vector<double> difficulty_of(engine::RunContext& context, const data::Mixture& rows,
                                  const std::vector<data::Example>& examples,
                                  const data::CurriculumConfig& config) {
  const data::DifficultySource source = data::parse_difficulty(config.difficulty);
  if (source.kind == data::DifficultySource::Kind::kLoss) return losses_of(context, examples);
  std::vector<double> difficulty;
  if (source.kind == data::DifficultySource::Kind::kLength) {
    for (const auto& example : examples)
      difficulty.push_back(static_cast<double>(example.ids.size()));
    return difficulty;
  }
  const std::vector<double> all = of_rows(rows, source, config);
  for (const auto& example : examples)
    difficulty.push_back(all[static_cast<std::size_t>(example.row)]);
  return difficulty;
}

}  // namespace limbic::sft

// `limbic logprobs`: token log-probabilities of given sequences.
#include <algorithm>
#include <cmath>

#include "launch/commands/chat_rows.h"
#include "launch/commands/commands.h"
#include "launch/commands/row_files.h"
#include "trainer/base/error.h"
#include "trainer/engine/score_targets.h"

namespace limbic::launch {
namespace {

constexpr std::size_t kRowsAtATime = 8;

struct LogprobsOptions {
  ModelOptions model;
  std::string input, output;
};

std::vector<NewFields> score_rows(const LoadedModel& model, const std::vector<RowText>& rows) {
  const at::NoGradGuard no_grad;
  std::vector<data::Example> documents;
  const model::ModelConfig& config = model.decoder->config();
  const std::int64_t positions = config.longest_sequence;
  for (const RowText& row : rows) {
    data::Example document;
    if (data::find_column(row.row, "ids") != nullptr) {
      document.ids = ids_of(row.row, config.vocab_size);
    } else {
      data::want_column(row.row, "messages", "ids or messages");
      document.ids = encode_messages(model.text, row.row, false).ids;
    }
    if (document.ids.empty()) data::fail_row(row.row, "got no token, want at least one");
    with_place(row.row, [&] { config.check_tokens(document.ids); });
    if (static_cast<std::int64_t>(document.ids.size()) > positions) {
      data::fail_row(row.row, fmt::format("got {} tokens, want at most the model's {} positions",
                                          document.ids.size(), positions));
    }
    document.loss_mask.assign(document.ids.size(), 1);
    document.loss_mask[0] = 0;
    documents.push_back(std::move(document));
  }
  const data::PackedBatch batch = data::concat(documents);
  std::vector<float> values;
  if (batch.loss_tokens > 0) {
    const at::Tensor scores =
        engine::score_targets(*model.decoder, batch, {}).scores.logprobs.cpu().contiguous();
    values.assign(scores.data_ptr<float>(), scores.data_ptr<float>() + scores.numel());
  }
  std::vector<NewFields> fields;
  auto next = values.begin();
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const data::Example& document = documents[i];
    const auto end = next + static_cast<std::ptrdiff_t>(document.ids.size()) - 1;
    if (!std::all_of(next, end, [](float value) { return std::isfinite(value); })) {
      data::fail_row(rows[i].row,
                     "got log-probabilities that are not finite, want numbers; are the weights or "
                     "the config of the model damaged?");
    }
    fields.push_back({{"ids", Json(document.ids).dump()},
                      {"logprobs", Json(std::vector<float>(next, end)).dump()}});
    next = end;
  }
  return fields;
}

int logprobs(const LogprobsOptions& options) {
  const LoadedModel model = load_model(options.model);
  transform_rows(options.input, options.output, kRowsAtATime,
                 [&](const std::vector<RowText>& rows) { return score_rows(model, rows); });
  return 0;
}

}  // namespace

void add_logprobs(Command limbic) {
  Command command = limbic.add("logprobs", "token log-probabilities of given sequences");
  auto options = std::make_shared<LogprobsOptions>();
  add_model_options(command, options->model);
  command.option("--input", options->input, "rows of {\"ids\"} or {\"messages\"}").required();
  command.option("--output", options->output, "rows with ids and logprobs").required();
  command.example(
      "limbic logprobs --model models/SmolLM2-135M-Instruct --input ids.jsonl --output "
      "logprobs.jsonl");
  command.runs([options] { return logprobs(*options); });
}

}  // namespace limbic::launch

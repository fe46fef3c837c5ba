#include "rl/eval/eval_stage.h"

#include <algorithm>
#include <set>

#include "data/json_lines.h"
#include "data/json_row.h"
#include "data/row_plan.h"
#include "data/template/chat_encoder.h"
#include "rewards/aliases.h"
#include "rewards/text.h"
#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/base/seed.h"
#include "trainer/engine/encode_rows.h"
#include "trainer/engine/stop_tokens.h"
#include "trainer/generation/continuation.h"
#include "trainer/generation/generator.h"
#include "trainer/parallel/collectives.h"

namespace limbic::eval {
namespace {

// From texts to labels.
class Reader {
 public:
  explicit Reader(const EvalConfig& config)
      : region_(config.region),
        aliases_(rewards::Aliases::parse(config.aliases, rules_of(config), "aliases")) {
    for (const std::string& choice : config.choices) labels_.insert(answer("", choice).predicted);
  }

  std::string gold(const data::Row& row, const std::string& column) {
    const Json& value = data::want_column(row, column, "the right answer");
    if (value.is_array() || value.is_object()) {
      data::fail_row(
          row, fmt::format("got {} in column '{}', want one label", data::in_words(value), column));
    }
    const std::string label = aliases_.canonical(data::as_text(value));
    labels_.insert(label);
    return label;
  }
  Answer answer(std::string gold, const std::string& completion) const {
    const auto part = region_.find(completion);
    if (!part) return {.gold = std::move(gold), .predicted = ""};
    return {.gold = std::move(gold),
            .predicted = aliases_.canonical(*part),
            .text = std::string(*part)};
  }
  std::vector<std::string> labels() const { return {labels_.begin(), labels_.end()}; }

 private:
  static rewards::TextRules rules_of(const EvalConfig& config) {
    const auto has = [&](const char* name) {
      return std::find(config.normalize.begin(), config.normalize.end(), name) !=
             config.normalize.end();
    };
    return {.lower = has("lower"), .strip_punctuation = has("strip_punctuation")};
  }

  rewards::Region region_;
  rewards::Aliases aliases_;
  std::set<std::string> labels_;
};

class Evaluation {
 public:
  Evaluation(engine::RunContext& context, const EvalConfig& config, const std::string& folder)
      : context_(context),
        config_(config),
        folder_(folder),
        reader_(config),
        rows_(engine::mixture_of(context, config.data)) {}

  engine::StageResult run() {
    read_gold();
    std::vector<std::string> answers(golds_.size());
    parallel::together(context_.communicator, [&] { answer_my_rows(answers); });
    gather(answers);
    std::vector<Answer> pairs;
    for (std::size_t i = 0; i < answers.size(); ++i) {
      pairs.push_back(reader_.answer(golds_[i], answers[i]));
    }
    const Report report = report_of(pairs, reader_.labels(), config_.metrics);
    engine::StageResult out;
    out.tokens = static_cast<std::int64_t>(
        parallel::sum(context_.communicator, {static_cast<double>(tokens_)})[0]);
    out.metrics = to_metrics(report);
    context_.metrics.resume_stage(context_.stage_name, -1);
    context_.metrics.log(context_.stage_name, context_.steps_done, out.metrics);
    if (context_.communicator.rank() == 0) write(answers, pairs, report);
    return out;
  }

 private:
  void read_gold() {
    const bool labelled = need_labels(config_.metrics);
    for (std::int64_t i = 0; i < rows_.size(); ++i) {
      golds_.push_back(labelled ? reader_.gold(rows_.row(i), config_.label) : "");
    }
    std::int64_t longest = config_.max_completion_length;
    if (!config_.choices.empty()) longest = 0;
    prompts_ = engine::encode_prompts(context_, rows_,
                                      {context_.decoder.config().longest_sequence - longest});
  }

  void answer_my_rows(std::vector<std::string>& answers) {
    std::vector<std::int64_t> all(prompts_.size());
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
    const std::vector<std::int64_t> mine =
        data::shard(all, context_.communicator.rank(), context_.communicator.size());
    const auto each = config_.choices.empty() ? std::size_t{1} : config_.choices.size();
    const std::size_t wave = std::max<std::size_t>(
        1, static_cast<std::size_t>(config_.per_device_eval_batch_size) / each);
    context_.progress.begin(context_.stage_name, 0, static_cast<std::int64_t>(mine.size()), "");
    for (std::size_t begin = 0; begin < mine.size(); begin += wave) {
      if (context_.stop_requested) {
        throw Interrupted(
            fmt::format("{}: stopped; run the same command again to go on", context_.stage_name));
      }
      const auto start = std::chrono::steady_clock::now();
      const std::int64_t before = tokens_;
      const std::size_t end = std::min(mine.size(), begin + wave);
      const std::span<const std::int64_t> part(mine.data() + begin, end - begin);
      config_.choices.empty() ? generate(part, answers) : choose(part, answers);
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      context_.progress.step(static_cast<std::int64_t>(end), 0.0, tokens_ - before,
                             seconds.count());
    }
    context_.progress.end();
  }

  void generate(std::span<const std::int64_t> part, std::vector<std::string>& answers) {
    std::vector<generation::Prompt> requests;
    for (const std::int64_t row : part) {
      requests.push_back({.ids = prompts_[static_cast<std::size_t>(row)].ids,
                          .seed = derive_seed(context_.seed, "eval " + context_.stage_name, row)});
    }
    const generation::GenerationConfig settings{.sampling = config_.sampling,
                                                .max_new_tokens = config_.max_completion_length,
                                                .stop_tokens = engine::stop_tokens(context_)};
    const auto groups = generation::generate(context_.decoder, requests, settings);
    for (std::size_t i = 0; i < part.size(); ++i) {
      const generation::Completion& completion = groups[i][0];
      tokens_ += static_cast<std::int64_t>(requests[i].ids.size() + completion.ids.size());
      answers[static_cast<std::size_t>(part[i])] =
          engine::completion_text(context_.tokenizer, completion, config_.region.empty());
    }
  }

  void choose(std::span<const std::int64_t> part, std::vector<std::string>& answers) {
    std::vector<generation::Question> questions;
    for (const std::int64_t row : part) {
      const engine::PromptRow& prompt = prompts_[static_cast<std::size_t>(row)];
      generation::Question question{.prompt = prompt.ids, .continuations = {}};
      for (const std::string& choice : config_.choices) {
        question.continuations.push_back(continuation(prompt, choice));
        tokens_ += static_cast<std::int64_t>(question.continuations.back().size());
      }
      tokens_ += static_cast<std::int64_t>(prompt.ids.size());
      questions.push_back(std::move(question));
    }
    const auto scores = generation::score_continuations(context_.decoder, questions,
                                                        config_.per_device_eval_batch_size, true);
    for (std::size_t i = 0; i < part.size(); ++i) {
      const auto best = std::max_element(scores[i].begin(), scores[i].end()) - scores[i].begin();
      answers[static_cast<std::size_t>(part[i])] = config_.choices[static_cast<std::size_t>(best)];
    }
  }

  // The tokens that the model would have to produce to give this answer.
  std::vector<std::int32_t> continuation(const engine::PromptRow& prompt,
                                         const std::string& choice) {
    if (prompt.messages.is_string()) return context_.tokenizer.encode(choice);
    Json messages = prompt.messages;
    messages.push_back({{"role", "assistant"}, {"content", choice}});
    const data::EncodedChat chat = data::encode_chat(
        context_.tokenizer, context_.chat_template, messages, false,
        engine::template_variables(context_.template_variables, rows_.row(prompt.row)));
    const bool prefix = chat.ids.size() > prompt.ids.size() &&
                        std::equal(prompt.ids.begin(), prompt.ids.end(), chat.ids.begin());
    if (!prefix) {
      data::fail_row(
          rows_.row(prompt.row),
          fmt::format("got a chat template that writes the prompt otherwise when '{}' is "
                      "answered, want one that only adds to it; leave out choices",
                      choice));
    }
    std::vector<std::int32_t> ids;
    for (std::size_t i = prompt.ids.size(); i < chat.ids.size(); ++i) {
      if (chat.assistant_mask[i] != 0) ids.push_back(chat.ids[i]);
    }
    return ids;
  }

  void gather(std::vector<std::string>& answers) {
    Json mine = Json::object();
    for (std::size_t i = 0; i < answers.size(); ++i) {
      if (!answers[i].empty()) mine[std::to_string(i)] = answers[i];
    }
    for (const std::string& part : context_.communicator.all_gather_bytes(mine.dump())) {
      const Json parsed = Json::parse(part);
      for (const auto& [index, answer] : parsed.items()) {
        answers[std::stoul(index)] = answer.get<std::string>();
      }
    }
  }

  void write(const std::vector<std::string>& answers, const std::vector<Answer>& pairs,
             const Report& report) {
    AtomicFile predictions(folder_ + "/predictions.jsonl");
    for (std::size_t i = 0; i < answers.size(); ++i) {
      const std::string row = rows_.row(static_cast<std::int64_t>(i)).value.dump();
      predictions.write(
          data::with_fields(row, {{"prediction", Json(answers[i]).dump()},
                                  {"predicted_label", Json(pairs[i].predicted).dump()}}) +
          "\n");
    }
    predictions.commit();
    write_file_atomically(folder_ + "/table.json", to_json(report).dump(2) + "\n");
    write_file_atomically(folder_ + "/table.txt", to_text(report));
  }

  engine::RunContext& context_;
  const EvalConfig& config_;
  const std::string& folder_;
  Reader reader_;
  data::Mixture rows_;
  std::vector<engine::PromptRow> prompts_;
  std::vector<std::string> golds_;
  std::int64_t tokens_ = 0;
};

}  // namespace

void check_labels(const EvalConfig& config, const data::Mixture& rows) {
  Reader reader(config);
  for (std::int64_t i = 0; i < rows.size(); ++i) reader.gold(rows.row(i), config.label);
}

engine::StageResult run_eval(engine::RunContext& context, const EvalConfig& config,
                             const std::string& folder) {
  return Evaluation(context, config, folder).run();
}

Report score_predictions(const std::string& file, const EvalConfig& config,
                         const std::string& folder) {
  Reader reader(config);
  const bool labelled = need_labels(config.metrics);
  std::vector<Answer> pairs;
  data::JsonLines lines(file);
  while (auto line = lines.next()) {
    const data::Row row{Json::parse(line->text), file, line->number};
    const std::string gold = labelled ? reader.gold(row, config.label) : "";
    const Json& prediction = data::want_column(row, "prediction", "the answer that was given");
    pairs.push_back(reader.answer(gold, data::as_text(prediction)));
  }
  if (pairs.empty()) throw DataError(file + ": got no row, want at least one");
  Report report = report_of(pairs, reader.labels(), config.metrics);
  write_file_atomically(folder + "/table.json", to_json(report).dump(2) + "\n");
  return report;
}

}  // namespace limbic::eval

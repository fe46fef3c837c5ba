// `limbic chat`: talk to a model in the terminal, tokens streamed.
#include <unistd.h>

#include <iostream>

#include "launch/commands/chat_rows.h"
#include "launch/commands/commands.h"
#include "launch/run/signals.h"
#include "trainer/base/error.h"
#include "trainer/base/seed.h"
#include "trainer/engine/stop_tokens.h"
#include "trainer/generation/generator.h"

namespace limbic::launch {
namespace {

struct ChatOptions {
  ModelOptions model;
  std::string system;
  std::int64_t max_new_tokens = 512, top_k = 0;
  double temperature = 0.7, top_p = 0.95;
  std::uint64_t seed = 0;
};

class Chat {
 public:
  explicit Chat(const ChatOptions& options) : options_(options), model_(load_model(options.model)) {
    restart();
  }

  int run() {
    const bool terminal = isatty(STDIN_FILENO) != 0;
    if (terminal) std::cerr << "Type a message. /new starts over, /quit or Ctrl-D ends.\n";
    std::string line;
    while (true) {
      if (terminal) std::cerr << "> " << std::flush;
      if (!std::getline(std::cin, line)) break;
      if (line == "/quit") break;
      if (line == "/new") {
        restart();
      } else if (!line.empty()) {
        answer(line);
      }
    }
    return 0;
  }

 private:
  void restart() {
    messages_ = Json::array();
    if (!options_.system.empty()) {
      messages_.push_back({{"role", "system"}, {"content", options_.system}});
    }
  }

  void answer(const std::string& line) {
    messages_.push_back({{"role", "user"}, {"content", line}});
    const generation::Prompt prompt{
        .ids = data::encode_prompt(model_.text.tokenizer, model_.text.chat_template, messages_,
                                   Json::object()),
        .seed = derive_seed(options_.seed, "chat", messages_.size())};
    const std::int64_t room =
        model_.decoder->config().longest_sequence - static_cast<std::int64_t>(prompt.ids.size());
    if (room < 1) {
      std::cerr
          << "The conversation is as long as the model's positions allow; /new starts over.\n";
      messages_.erase(messages_.size() - 1);
      return;
    }
    const generation::GenerationConfig settings{
        .sampling = {.temperature = options_.temperature,
                     .top_p = options_.top_p,
                     .top_k = options_.top_k},
        .max_new_tokens = std::min(room, options_.max_new_tokens),
        .stop_tokens = engine::stop_tokens(model_.decoder->config(), model_.text.tokenizer,
                                           model_.text.chat_template)};
    data::StreamDecoder stream(model_.text.tokenizer, true);
    const auto groups = generation::generate(*model_.decoder, {prompt}, settings,
                                             [&](std::size_t, std::size_t, std::int32_t token) {
                                               std::cout << stream.push(token) << std::flush;
                                               return !stop_;
                                             });
    std::cout << stream.finish() << std::endl;
    if (stop_) throw Interrupted("chat ended");
    messages_.push_back(
        {{"role", "assistant"},
         {"content", engine::completion_text(model_.text.tokenizer, groups[0][0], true)}});
  }

  const ChatOptions& options_;
  LoadedModel model_;
  Json messages_;
  const std::atomic<bool>& stop_ = watch_stop_signals();
};

}  // namespace

void add_chat(Command limbic) {
  Command command = limbic.add("chat", "talk to a model in the terminal");
  auto options = std::make_shared<ChatOptions>();
  add_model_options(command, options->model);
  command.option("--system", options->system, "system message");
  command.option("--max-new-tokens", options->max_new_tokens, "longest answer (512)")
      .whole_number(1, 1 << 30);
  command.option("--temperature", options->temperature, "0 = greedy (0.7)").number(0);
  command.option("--top-p", options->top_p, "nucleus mass (0.95)").number(1e-9, 1.0);
  command.option("--top-k", options->top_k, "likeliest tokens kept; 0 = all (0)").whole_number(0);
  command.option("--seed", options->seed, "seed of the draws (0)").whole_number(0);
  command.example("limbic chat --model runs/quickstart/merged");
  command.runs([options] { return Chat(*options).run(); });
}

}  // namespace limbic::launch

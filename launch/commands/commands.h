// The subcommands of the binary. Each adds itself to the parser and, when chosen, runs and returns
// an exit code; errors are thrown.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "launch/model/model_setup.h"

namespace limbic::launch {

using Run = std::function<int()>;
// Where a subcommand leaves what has to be run.
using Chosen = Run&;

void add_train(CLI::App& app, Chosen chosen);
void add_serve(CLI::App& app, Chosen chosen);
void add_score(CLI::App& app, Chosen chosen);
void add_generate(CLI::App& app, Chosen chosen);
void add_chat(CLI::App& app, Chosen chosen);
void add_logprobs(CLI::App& app, Chosen chosen);
void add_tokenize(CLI::App& app, Chosen chosen);
void add_eval(CLI::App& app, Chosen chosen);
void add_merge(CLI::App& app, Chosen chosen);
void add_adapter(CLI::App& app, Chosen chosen);
void add_inspect(CLI::App& app, Chosen chosen);
void add_data(CLI::App& app, Chosen chosen);
void add_checkpoint(CLI::App& app, Chosen chosen);

// The command line's first word that is no command, as an error message; empty when all are.
std::string unknown_command(const CLI::App& app, int argc, const char* const* argv);

// Bounds of an option, inclusive.
CLI::Validator whole_number(std::int64_t low,
                            std::int64_t high = std::numeric_limits<std::int64_t>::max());
CLI::Validator number(double low, double high = std::numeric_limits<double>::max());

// An option that takes one of a few words.
template <class E>
void add_choice(CLI::App& command, const std::string& name, E& value,
                const std::vector<std::pair<std::string, E>>& words, const std::string& help) {
  const auto take = [&value, words, name](const std::string& text) {
    std::string known;
    for (const auto& [word, meaning] : words) {
      if (word == text) {
        value = meaning;
        return;
      }
      known += (known.empty() ? "" : ", ") + word;
    }
    throw CLI::ValidationError(name, fmt::format("got '{}', want one of {}", text, known));
  };
  command.add_option_function<std::string>(name, take, help);
}

// --model, --adapter, --chat-template, --device, --dtype, --threads.
void add_model_options(CLI::App& command, ModelOptions& options);
// The lines of --help behind the options.
void add_example(CLI::App& command, const std::string& example);

}  // namespace limbic::launch

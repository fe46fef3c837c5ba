// The subcommands of the binary. Each adds itself to the parser and, when chosen, runs and returns
// an exit code; errors are thrown.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

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

// --model, --adapter, --chat-template, --device, --dtype, --threads.
void add_model_options(CLI::App& command, ModelOptions& options);
// The lines of --help behind the options.
void add_example(CLI::App& command, const std::string& example);

}  // namespace limbic::launch

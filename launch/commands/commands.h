// The subcommands of the binary: each adds itself, its options and what it runs.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <string>

#include "launch/commands/command.h"
#include "launch/model/model_setup.h"

namespace limbic::launch {

void add_train(Command limbic);
void add_serve(Command limbic);
void add_score(Command limbic);
void add_generate(Command limbic);
void add_chat(Command limbic);
void add_logprobs(Command limbic);
void add_tokenize(Command limbic);
void add_eval(Command limbic);
void add_merge(Command limbic);
void add_adapter(Command limbic);
void add_inspect(Command limbic);
void add_data(Command limbic);
void add_checkpoint(Command limbic);

// --model, --adapter, --chat-template, --device, --dtype, --threads.
void add_model_options(Command command, ModelOptions& options);

}  // namespace limbic::launch

// The `limbic` binary: picks the subcommand and turns errors into exit codes.
#include <malloc.h>

#include <iostream>

#include "launch/commands/commands.h"
#include "launch/config/reference.h"
#include "launch/exit_code.h"
#include "launch/version.h"
#include "trainer/base/log.h"

namespace limbic::launch {
namespace {

// glibc hands large blocks back to the kernel and faults them in again at every step, which costs a
// quarter of the training time on a CPU; keep them.
void keep_memory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 2'000'000'000);
  mallopt(M_TOP_PAD, 64 << 20);
}

void add_commands(CLI::App& app, Chosen chosen) {
  add_train(app, chosen);
  add_serve(app, chosen);
  add_score(app, chosen);
  add_generate(app, chosen);
  add_chat(app, chosen);
  add_logprobs(app, chosen);
  add_tokenize(app, chosen);
  add_eval(app, chosen);
  add_merge(app, chosen);
  add_adapter(app, chosen);
  add_inspect(app, chosen);
  add_data(app, chosen);
  add_checkpoint(app, chosen);
}

int run(int argc, char** argv) {
  CLI::App app("limbic post-trains language models: SFT, curricula, LoRA, GRPO", "limbic");
  Run chosen;
  app.require_subcommand(0, 1);
  bool version = false;
  bool reference = false;
  app.add_flag("--version", version, "versions of limbic and its libraries");
  app.add_flag("--config-reference", reference, "every key of the experiment file, as Markdown");
  add_commands(app, chosen);
  add_example(app, "limbic train configs/tiny.yaml");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    const std::string unknown = unknown_command(app, argc, argv);
    std::cerr << "error: " << (unknown.empty() ? error.what() : unknown) << "; see --help"
              << std::endl;
    return kExitUserError;
  }
  if (version) {
    std::cout << version_text();
    return kExitOk;
  }
  if (reference) {
    std::cout << config_reference();
    return kExitOk;
  }
  if (!chosen) {
    std::cout << app.help();
    return kExitUserError;
  }
  try {
    return chosen();
  } catch (...) {
    const Failure failure = failure_of(std::current_exception());
    std::cerr << (failure.code == kExitInterrupted ? "stopped: " : "error: ") << failure.message
              << std::endl;
    return failure.code;
  }
}

}  // namespace
}  // namespace limbic::launch

int main(int argc, char** argv) {
  limbic::launch::keep_memory();
  limbic::configure_log(0, 1);
  return limbic::launch::run(argc, argv);
}

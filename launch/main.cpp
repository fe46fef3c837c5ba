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

void add_commands(Command limbic) {
  add_train(limbic);
  add_serve(limbic);
  add_score(limbic);
  add_generate(limbic);
  add_chat(limbic);
  add_logprobs(limbic);
  add_tokenize(limbic);
  add_eval(limbic);
  add_merge(limbic);
  add_adapter(limbic);
  add_inspect(limbic);
  add_data(limbic);
  add_checkpoint(limbic);
}

int run(int argc, char** argv) {
  CommandLine line("limbic", "limbic post-trains language models: SFT, curricula, LoRA, GRPO");
  Command limbic = line.root();
  bool version = false;
  bool reference = false;
  limbic.flag("--version", version, "versions of limbic and its libraries");
  limbic.flag("--config-reference", reference, "every key of the experiment file, as Markdown");
  add_commands(limbic);
  limbic.example("limbic train configs/tiny.yaml");
  if (int code = kExitOk; !line.parse(argc, argv, code)) return code;
  if (version) {
    std::cout << version_text();
    return kExitOk;
  }
  if (reference) {
    std::cout << config_reference();
    return kExitOk;
  }
  if (!line.chosen()) {
    std::cout << line.help();
    return kExitUserError;
  }
  try {
    return line.chosen()();
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

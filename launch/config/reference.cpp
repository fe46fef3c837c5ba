#include "launch/config/reference.h"

#include "launch/config/run_config.h"

namespace limbic::launch {

std::string config_reference() {
  const std::string introduction =
      "# The experiment file, key by key\n\n"
      "One YAML file describes a whole experiment. Reading is strict: an unknown key (the nearest\n"
      "known one is named), a wrong type, a value out of bounds, two sections that disagree, a "
      "key\n"
      "that stands twice: one line with file, line and dotted path, exit code 2.\n\n"
      "`section.key=value` on the command line overrides a value; a stage is named by its index "
      "or\n"
      "its name (`stages.0.steps=5`, `stages.grpo.learning_rate=1e-6`). A value `env:NAME` is "
      "read\n"
      "from the environment. Keys inside a stage have TRL's names and defaults unless the text "
      "says\n"
      "otherwise. Relative paths start at the current folder.\n\n"
      "This page is written by `limbic --config-reference`; a test keeps it in step with the "
      "code.\n"
      "Reward terms with their options are in [rewards.md](rewards.md), data shapes in\n"
      "[data.md](data.md).\n\n";
  return introduction + MarkdownWriter().write(RunConfig());
}

}  // namespace limbic::launch

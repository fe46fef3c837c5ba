#include "launch/commands/commands.h"

#include <charconv>
#include <set>

#include "trainer/base/yaml_config.h"

namespace limbic::launch {
namespace {

// Named in the documentation, not part of this version.
const std::set<std::string> kLaterCommands = {"report", "launch"};

template <class T>
CLI::Validator bounded(T low, T high, const std::string& want) {
  const auto complaint = [=](std::string& text) {
    T value{};
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool read = error == std::errc() && stop == text.data() + text.size();
    if (read && value >= low && value <= high) return std::string();
    return fmt::format("got '{}', want {}", text, want);
  };
  return CLI::Validator(complaint, "");
}

}  // namespace

std::string unknown_command(const CLI::App& app, int argc, const char* const* argv) {
  const CLI::App* group = &app;
  for (int i = 1; i < argc && argv[i][0] != '-'; ++i) {
    const std::vector<const CLI::App*> commands = group->get_subcommands({});
    if (commands.empty()) return "";
    std::vector<std::string> names;
    const CLI::App* found = nullptr;
    for (const CLI::App* command : commands) {
      names.push_back(command->get_name());
      if (command->get_name() == argv[i]) found = command;
    }
    if (found == nullptr) {
      const std::string near = nearest_name(argv[i], names);
      return fmt::format("got command '{}', want one of {}{}", argv[i], fmt::join(names, ", "),
                         kLaterCommands.count(argv[i]) > 0 ? "; this version does not have it yet"
                         : near.empty()                    ? ""
                                                           : "; did you mean '" + near + "'?");
    }
    group = found;
  }
  return "";
}

CLI::Validator whole_number(std::int64_t low, std::int64_t high) {
  const bool open = high == std::numeric_limits<std::int64_t>::max();
  return bounded(low, high,
                 open ? fmt::format("a whole number of at least {}", low)
                      : fmt::format("a whole number from {} to {}", low, high));
}

CLI::Validator number(double low, double high) {
  const bool open = high == std::numeric_limits<double>::max();
  return bounded(low, high,
                 open ? fmt::format("a number of at least {}", low)
                      : fmt::format("a number from {} to {}", low, high));
}

void add_model_options(CLI::App& command, ModelOptions& options) {
  command.add_option("--model", options.model, "Hugging Face model folder")->required();
  command.add_option("--adapter", options.adapter, "PEFT adapter folder");
  command.add_option("--chat-template", options.chat_template,
                     "file that replaces the folder's chat template");
  add_choice<Device>(command, "--device", options.device,
                     {{"auto", Device::kAuto}, {"cpu", Device::kCpu}, {"cuda", Device::kCuda}},
                     "auto, cpu or cuda; auto = a GPU where one is");
  add_choice<Dtype>(
      command, "--dtype", options.dtype,
      {{"auto", Dtype::kAuto}, {"float32", Dtype::kFloat32}, {"bfloat16", Dtype::kBfloat16}},
      "compute type: auto, float32 or bfloat16");
  command.add_option("--threads", options.threads, "threads; 0 = OMP_NUM_THREADS, else all cores")
      ->check(whole_number(0, 1024));
}

void add_example(CLI::App& command, const std::string& example) {
  command.footer("Example:\n  " + example);
}

}  // namespace limbic::launch

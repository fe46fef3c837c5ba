#include "launch/commands/command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <iostream>
#include <set>

#include "launch/exit_code.h"
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

// The command line's first word that is no command, as an error message; empty when all are.
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

}  // namespace

void Option::required() { option_->required(); }

void Option::whole_number(std::int64_t low, std::int64_t high) {
  const bool open = high == std::numeric_limits<std::int64_t>::max();
  option_->check(bounded(low, high,
                         open ? fmt::format("a whole number of at least {}", low)
                              : fmt::format("a whole number from {} to {}", low, high)));
}

void Option::number(double low, double high) {
  const bool open = high == std::numeric_limits<double>::max();
  option_->check(bounded(low, high,
                         open ? fmt::format("a number of at least {}", low)
                              : fmt::format("a number from {} to {}", low, high)));
}

Command Command::add(const std::string& name, const std::string& help) {
  return {app_->add_subcommand(name, help), chosen_};
}

void Command::as_group() { app_->require_subcommand(1); }

Option Command::option(const std::string& name, std::string& value, const std::string& help) {
  return Option(app_->add_option(name, value, help));
}

Option Command::option(const std::string& name, std::vector<std::string>& value,
                       const std::string& help) {
  return Option(app_->add_option(name, value, help));
}

Option Command::option(const std::string& name, int& value, const std::string& help) {
  return Option(app_->add_option(name, value, help));
}

Option Command::option(const std::string& name, std::int64_t& value, const std::string& help) {
  return Option(app_->add_option(name, value, help));
}

Option Command::option(const std::string& name, std::uint64_t& value, const std::string& help) {
  return Option(app_->add_option(name, value, help));
}

Option Command::option(const std::string& name, double& value, const std::string& help) {
  return Option(app_->add_option(name, value, help));
}

void Command::flag(const std::string& name, bool& value, const std::string& help) {
  app_->add_flag(name, value, help);
}

void Command::add_choice(const std::string& name, std::vector<std::string> words,
                         std::function<void(std::size_t)> take, const std::string& help) {
  const auto choose = [=](const std::string& text) {
    const auto word = std::find(words.begin(), words.end(), text);
    if (word == words.end()) {
      throw CLI::ValidationError(
          name, fmt::format("got '{}', want one of {}", text, fmt::join(words, ", ")));
    }
    take(static_cast<std::size_t>(word - words.begin()));
  };
  app_->add_option_function<std::string>(name, choose, help);
}

void Command::example(const std::string& text) { app_->footer("Example:\n  " + text); }

void Command::runs(Run run) {
  app_->callback([chosen = chosen_, run = std::move(run)] { *chosen = run; });
}

CommandLine::CommandLine(const std::string& name, const std::string& help)
    : app_(std::make_unique<CLI::App>(help, name)) {
  app_->require_subcommand(0, 1);
}

CommandLine::~CommandLine() = default;

Command CommandLine::root() { return {app_.get(), &chosen_}; }

bool CommandLine::parse(int argc, const char* const* argv, int& exit_code) {
  try {
    app_->parse(argc, argv);
    return true;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help
      exit_code = app_->exit(error);
      return false;
    }
    const std::string unknown = unknown_command(*app_, argc, argv);
    std::cerr << "error: " << (unknown.empty() ? error.what() : unknown) << "; see --help"
              << std::endl;
    exit_code = kExitUserError;
    return false;
  }
}

std::string CommandLine::help() const { return app_->help(); }

}  // namespace limbic::launch

// What a command of the binary takes, says in --help and runs. The parser, CLI11, stays behind this
// header: its templates would cost every command's file seconds of compile time.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace limbic::launch {

// What a chosen command does; returns an exit code, throws errors.
using Run = std::function<int()>;

// An option that has been added to a command.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}
  void required();
  // Bounds, inclusive.
  void whole_number(std::int64_t low, std::int64_t high = std::numeric_limits<std::int64_t>::max());
  void number(double low, double high = std::numeric_limits<double>::max());

 private:
  CLI::Option* option_;
};

// A command, a group of commands, or the binary itself. A handle: copies mean the same command.
// Values are written when the command line is read, so they must outlive it.
class Command {
 public:
  Command(CLI::App* app, Run* chosen) : app_(app), chosen_(chosen) {}

  Command add(const std::string& name, const std::string& help);
  // Wants one of the commands added to it.
  void as_group();

  // `name` is --long for an option, a bare word for an argument by position.
  Option option(const std::string& name, std::string& value, const std::string& help);
  Option option(const std::string& name, std::vector<std::string>& value, const std::string& help);
  Option option(const std::string& name, int& value, const std::string& help);
  Option option(const std::string& name, std::int64_t& value, const std::string& help);
  Option option(const std::string& name, std::uint64_t& value, const std::string& help);
  Option option(const std::string& name, double& value, const std::string& help);
  void flag(const std::string& name, bool& value, const std::string& help);

  // An option that takes one of a few words.
  template <class E>
  void choice(const std::string& name, E& value, std::vector<std::pair<std::string, E>> words,
              const std::string& help) {
    std::vector<std::string> names;
    for (const auto& [word, meaning] : words) names.push_back(word);
    const auto take = [&value, words = std::move(words)](std::size_t i) {
      value = words[i].second;
    };
    add_choice(name, std::move(names), take, help);
  }

  // The lines of --help behind the options.
  void example(const std::string& text);
  // What is run when the command line names this command.
  void runs(Run run);

 private:
  void add_choice(const std::string& name, std::vector<std::string> words,
                  std::function<void(std::size_t)> take, const std::string& help);

  CLI::App* app_;
  Run* chosen_;
};

// The command line of the binary.
class CommandLine {
 public:
  CommandLine(const std::string& name, const std::string& help);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  Command root();
  // Reads the arguments. True: go on with chosen(). False: --help was printed, or an error line
  // that ends in "; see --help"; `exit_code` says which.
  bool parse(int argc, const char* const* argv, int& exit_code);
  // Empty when no command was named.
  const Run& chosen() const { return chosen_; }
  std::string help() const;

 private:
  std::unique_ptr<CLI::App> app_;
  Run chosen_;
};

}  // namespace limbic::launch

// A command under test: started with pipes, watched, signalled, and ended by its own id.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace limbic::test {

// How a command ended and what it said.
struct Ended {
  int code = -1;           // exit code; -1 when a signal ended it
  int signal = 0;          // that signal, else 0
  bool timed_out = false;  // it was killed because it ran too long
  std::string out, err;
};

class Process {
 public:
  // Starts command[0] (looked up in PATH) with this process's environment, one thread, and leave to
  // run MPI as root on more ranks than cores; `environment` (NAME=VALUE) is added. Throws
  // std::runtime_error.
  explicit Process(const std::vector<std::string>& command,
                   const std::vector<std::string>& environment = {});
  // Kills what still runs.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t id() const { return id_; }
  const std::string& err() const { return ended_.err; }
  void signal(int number) const;
  // Reads until `text` stands in stderr. False when the command ended or the time passed first.
  bool wait_for(const std::string& text, double seconds = 50.0);
  // Reads until the end; kills the command when it runs longer.
  Ended finish(double seconds = 50.0);

 private:
  bool read_some(double deadline);
  void reap();

  pid_t id_ = -1;
  int out_ = -1, err_ = -1;
  bool running_ = false;
  Ended ended_;
};

Ended run_command(const std::vector<std::string>& command, double seconds = 50.0);

// The binary of this build.
std::string limbic_binary();
// Runs it.
Ended run_limbic(std::vector<std::string> arguments, double seconds = 50.0);
// mpirun -n RANKS in front of it.
std::vector<std::string> mpirun(int ranks, const std::vector<std::string>& arguments);

}  // namespace limbic::test

#include "tests/support/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <stdexcept>
#include <string_view>

namespace limbic::test {
namespace {

double now() {
  const std::chrono::duration<double> time = std::chrono::steady_clock::now().time_since_epoch();
  return time.count();
}

// A test may itself run under a launcher, whose variables must not reach the commands.
bool is_inherited(std::string_view variable) {
  for (const char* prefix : {"OMPI_", "PMIX_", "PMI_", "SLURM_", "OMP_NUM_THREADS="}) {
    if (variable.starts_with(prefix)) return false;
  }
  return true;
}

std::vector<std::string> environment_with(const std::vector<std::string>& more) {
  std::vector<std::string> all = {"OMP_NUM_THREADS=1", "OMPI_ALLOW_RUN_AS_ROOT=1",
                                  "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"};
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (is_inherited(*entry)) all.emplace_back(*entry);
  }
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Adds what can be read to `text` and closes the descriptor at its end.
void drain(int& descriptor, std::string& text) {
  char buffer[65536];
  const ssize_t count = ::read(descriptor, buffer, sizeof buffer);
  if (count > 0) {
    text.append(buffer, static_cast<std::size_t>(count));
  } else if (count == 0 || errno != EINTR) {
    ::close(descriptor);
    descriptor = -1;
  }
}

}  // namespace

Process::Process(const std::vector<std::string>& command,
                 const std::vector<std::string>& environment) {
  std::vector<std::string> words = command;
  std::vector<std::string> variables = environment_with(environment);
  const std::vector<char*> argv = pointers_to(words);
  const std::vector<char*> envp = pointers_to(variables);
  int out[2], err[2];
  if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) {
    throw std::runtime_error(std::string("pipe: ") + std::strerror(errno));
  }
  id_ = ::fork();
  if (id_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::setpgid(0, 0);
    ::dup2(out[1], STDOUT_FILENO);
    ::dup2(err[1], STDERR_FILENO);
    ::execvpe(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  ::close(out[1]);
  ::close(err[1]);
  if (id_ < 0) throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
  ::setpgid(id_, id_);
  out_ = out[0];
  err_ = err[0];
  running_ = true;
}

Process::~Process() {
  if (running_) {
    ::kill(-id_, SIGKILL);
    reap();
  }
  if (out_ >= 0) ::close(out_);
  if (err_ >= 0) ::close(err_);
}

void Process::signal(int number) const {
  if (running_) ::kill(id_, number);
}

// False at the end of both pipes or at the deadline.
bool Process::read_some(double deadline) {
  if (out_ < 0 && err_ < 0) return false;
  pollfd waiting[2] = {{out_, POLLIN, 0}, {err_, POLLIN, 0}};
  const double left = deadline - now();
  if (left <= 0) return false;
  const int ready = ::poll(waiting, 2, static_cast<int>(std::min(left, 1e6) * 1000) + 1);
  if (ready < 0) return errno == EINTR;
  if (waiting[0].revents != 0) drain(out_, ended_.out);
  if (waiting[1].revents != 0) drain(err_, ended_.err);
  return ready > 0;
}

void Process::reap() {
  int status = 0;
  while (::waitpid(id_, &status, 0) < 0 && errno == EINTR) {
  }
  running_ = false;
  if (WIFEXITED(status)) ended_.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) ended_.signal = WTERMSIG(status);
}

bool Process::wait_for(const std::string& text, double seconds) {
  const double deadline = now() + seconds;
  while (ended_.err.find(text) == std::string::npos) {
    if (!read_some(deadline)) return false;
  }
  return true;
}

Ended Process::finish(double seconds) {
  const double deadline = now() + seconds;
  while (read_some(deadline)) {
  }
  if (!running_) return ended_;
  if (out_ >= 0 || err_ >= 0) {
    ended_.timed_out = true;
    ::kill(-id_, SIGKILL);
  }
  reap();
  return ended_;
}

Ended run_command(const std::vector<std::string>& command, double seconds) {
  return Process(command).finish(seconds);
}

std::string limbic_binary() { return LIMBIC_BINARY; }

Ended run_limbic(std::vector<std::string> arguments, double seconds) {
  arguments.insert(arguments.begin(), limbic_binary());
  return run_command(arguments, seconds);
}

std::vector<std::string> mpirun(int ranks, const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {"mpirun", "--oversubscribe",     "--bind-to",    "none",
                                      "-n",     std::to_string(ranks), limbic_binary()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

}  // namespace limbic::test

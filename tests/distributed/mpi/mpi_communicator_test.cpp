// Real mpirun, real processes: the collectives of several ranks, and what becomes of the others
// when one fails.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/parallel/conformance.h"

extern char** environ;

namespace limbic::parallel {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Clock = std::chrono::steady_clock;

constexpr double kLimitSeconds = 60.0;

struct Ended {
  int status = -1;  // exit code, or 128 + signal
  bool in_time = true;
  double seconds = 0.0;
  std::string output;  // stdout and stderr
};

// A child in a process group of its own, with its output in a pipe; ended by its id.
class Child {
 public:
  explicit Child(std::vector<std::string> arguments) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const int error = ::posix_spawnp(&id_, argv[0], &actions, &attributes, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    ::close(ends[1]);
    output_ = ends[0];
    if (error != 0) throw std::runtime_error("cannot start " + arguments[0]);
  }
  ~Child() {
    ::kill(-id_, SIGKILL);
    if (!reaped_) ::waitpid(id_, nullptr, 0);
    ::close(output_);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // Reads until the output ends or the time is up.
  Ended wait(double limit_seconds) {
    const auto begin = Clock::now();
    Ended ended;
    while (true) {
      ended.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
      const double left = limit_seconds - ended.seconds;
      pollfd wanted{.fd = output_, .events = POLLIN, .revents = 0};
      if (left <= 0 || ::poll(&wanted, 1, static_cast<int>(left * 1000)) == 0) {
        ended.in_time = false;
        return ended;
      }
      char buffer[4096];
      const ssize_t count = ::read(output_, buffer, sizeof buffer);
      if (count <= 0) break;
      ended.output.append(buffer, static_cast<std::size_t>(count));
    }
    int status = 0;
    ::waitpid(id_, &status, 0);
    reaped_ = true;
    ended.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return ended;
  }

 private:
  pid_t id_ = -1;
  int output_ = -1;
  bool reaped_ = false;
};

Ended run_ranks(int ranks, const std::string& mode, int odd_rank = -1,
                const std::string& transport = "mpi") {
  Child child({"mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-n",
               std::to_string(ranks), "env", "OMP_NUM_THREADS=1", LIMBIC_PROBE, mode,
               std::to_string(odd_rank), transport});
  return child.wait(kLimitSeconds);
}

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

// mpirun must end by itself, soon, with an error that holds `message`.
void expect_named_failure(const Ended& ended, const std::string& message) {
  EXPECT_TRUE(ended.in_time) << ended.output;
  EXPECT_LT(ended.seconds, 15.0);
  EXPECT_NE(ended.status, 0);
  EXPECT_THAT(ended.output, AllOf(HasSubstr(message), Not(HasSubstr("nothing failed"))));
}

// By all ranks of worlds of one to three.
void expect_conformance(const std::string& transport) {
  std::string names;
  for (const Check& check : conformance_checks()) names += std::string(check.name) + "\n";
  for (const int ranks : {1, 2, 3}) {
    const Ended ended = run_ranks(ranks, "check", -1, transport);
    EXPECT_EQ(ended.status, 0) << ranks << " ranks";
    EXPECT_EQ(ended.output, names) << ranks << " ranks";
  }
}

TEST(Mpi, EveryCheckHolds) { expect_conformance("mpi"); }

TEST(Mpi, EveryCheckHoldsInPieces) { expect_conformance("pieces"); }

// The double of NCCL between processes that MPI has brought together.
TEST(NcclOverMpi, EveryCheckHolds) { expect_conformance("nccl"); }

std::int64_t available_gigabytes() {
  std::ifstream file("/proc/meminfo");
  std::string name;
  std::int64_t kilobytes = 0;
  while (file >> name >> kilobytes && name != "MemAvailable:") file.ignore(100, '\n');
  return kilobytes >> 20;
}

TEST(Mpi, MoreElementsThanAnIntCountsArrive) {
  if (available_gigabytes() < 8) GTEST_SKIP() << "less than 8 GB of memory are free";
  const Ended ended = run_ranks(2, "large");
  EXPECT_EQ(ended.status, 0);
  EXPECT_EQ(ended.output, "all right\n");
}

TEST(Mpi, SumsHaveTheSameBitsInEveryRun) {
  const Ended first = run_ranks(3, "digest");
  ASSERT_EQ(first.status, 0) << first.output;
  EXPECT_EQ(run_ranks(3, "digest").output, first.output);
}

TEST(Mpi, WaitingLeavesTheProcessorToOthers) {
  const Ended ended = run_ranks(2, "wait", 0);
  ASSERT_EQ(ended.status, 0) << ended.output;
  EXPECT_LT(std::stod(ended.output), 0.4) << "seconds of processor time in a wait of 2 s";
}

TEST(Mpi, AKilledRankEndsTheOthers) { expect_named_failure(run_ranks(3, "die", 1), "signal 9"); }

TEST(Mpi, ARankThatDoesNotComeIsNoticedByTheTimeout) {
  expect_named_failure(run_ranks(2, "late", 0),
                       "error: rank 1: all_reduce_sum (4000 bytes of Float), call 2 of rank 1: "
                       "another rank did not come or answer within 0.5 s (parallel.timeout_s)");
}

TEST(NcclOverMpi, AKilledRankEndsTheOthers) {
  expect_named_failure(run_ranks(3, "die", 1, "nccl"), "signal 9");
}

TEST(NcclOverMpi, ARankThatDoesNotComeIsNoticedByTheTimeout) {
  expect_named_failure(run_ranks(2, "late", 0, "nccl"),
                       "another rank did not come or answer within 0.5 s (parallel.timeout_s)");
}

TEST(NcclOverMpi, ACallThatIsNeverDoneIsNamed) {
  const Ended ended = run_ranks(2, "stuck", 1, "nccl");
  expect_named_failure(ended, "together: all_reduce_sum (4000 bytes of Float), call ");
  EXPECT_THAT(ended.output, HasSubstr("not done within 0.5 s (parallel.timeout_s)"));
}

TEST(NcclOverMpi, AnErrorOfNcclEndsAllRanksTogether) {
  const Ended ended = run_ranks(3, "broken", 1, "nccl");
  expect_named_failure(ended, "NCCL said 'remote process exited or there was a network error'");
  EXPECT_EQ(count(ended.output, "together: all_reduce_sum (4000 bytes of Float), call "), 3);
}

TEST(NcclOverMpi, ARankThatFailsAloneSaysWhyAndEndsTheOthers) {
  expect_named_failure(run_ranks(3, "alone", 2, "nccl"), "error: rank 2: the disk is full");
}

TEST(Mpi, ARankThatFailsAloneSaysWhyAndEndsTheOthers) {
  expect_named_failure(run_ranks(3, "alone", 2), "error: rank 2: the disk is full");
}

TEST(Mpi, ARankThatUnwindsDoesNotWaitForTheOthers) {
  expect_named_failure(run_ranks(2, "unwind", 1), "probe: std::bad_alloc");
}

TEST(Mpi, DifferentCollectivesAreNamedOnAllRanks) {
  const Ended ended = run_ranks(2, "mismatch", 1);
  expect_named_failure(ended,
                       "together: all_reduce_sum (4000 bytes of Float) of rank 0 met "
                       "barrier of rank 1");
  EXPECT_EQ(count(ended.output, "together: all_reduce_sum"), 2);
}

TEST(Mpi, DifferentSizesAreNamedOnAllRanks) {
  expect_named_failure(run_ranks(2, "sizes", 0),
                       "together: all_reduce_sum (4004 bytes of Float) of rank 0 met "
                       "all_reduce_sum (4000 bytes of Float) of rank 1");
}

}  // namespace
}  // namespace limbic::parallel

// Errors -> the exit codes of the command line.
#pragma once

#include <exception>
#include <string>

namespace limbic::launch {

inline constexpr int kExitOk = 0;
inline constexpr int kExitNotUsable = 1;     // `adapter check`: a loader would not do as meant
inline constexpr int kExitUserError = 2;     // config, data, model folder
inline constexpr int kExitBug = 70;          // a broken invariant of limbic
inline constexpr int kExitInterrupted = 75;  // stopped early, resumable
inline constexpr int kExitLostContact = 76;  // lost a peer or a service, resumable

struct Failure {
  int code = kExitBug;
  std::string message;  // one line
};
Failure failure_of(const std::exception_ptr& error);

}  // namespace limbic::launch

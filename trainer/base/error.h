// The one family of errors, named after who must act. Everything below `launch/` throws; only the
// edges (main, gRPC handlers, MPI calls) translate.
//
// Message form: `FILE:LINE: dotted.path: got X, want Y; hint` (parts that do not apply are left
// out).
#pragma once

#include <stdexcept>
#include <string>

namespace limbic {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The user's configuration or command line is wrong. Exit code 2.
class ConfigError : public Error {
 public:
  using Error::Error;
};

// A file is missing, damaged or holds what it should not. Exit code 2.
class DataError : public Error {
 public:
  using Error::Error;
};

// Contact with another rank is lost. Exit code 76, the run can be resumed.
class CommError : public Error {
 public:
  using Error::Error;
};

// Contact with a service is lost. Exit code 76, the run can be resumed.
class RemoteError : public Error {
 public:
  using Error::Error;
};

// A signal or a time limit asked the run to end; its state is saved. Exit code 75.
class Interrupted : public Error {
 public:
  using Error::Error;
};

// For programmers: throws std::logic_error (exit code 70) when an invariant of limbic is broken.
void check(bool invariant, const std::string& message);

}  // namespace limbic

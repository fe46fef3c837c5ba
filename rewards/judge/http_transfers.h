// HTTP requests side by side on one thread (libcurl's multi interface).
//
// No redirects, no proxy from the environment, no protocol but HTTP(S), certificates verified, and
// a limit on time and size of every reply: what a server sends can be late or wrong, never endless.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace limbic::rewards {

struct HttpRequest {
  std::string url;
  std::string body;                  // POST; empty = GET
  std::vector<std::string> headers;  // "Name: value"
  double deadline_s = 30.0;          // from the start to the last byte
};

struct HttpReply {
  int status = 0;     // 0 = there was no complete HTTP reply
  std::string error;  // then: why
  std::string body;
  std::optional<double> retry_after_s;  // header Retry-After, seconds or date
};

// One thread uses it; only `wake` may be called from another one.
class HttpTransfers {
 public:
  HttpTransfers();
  ~HttpTransfers();  // ends what is on its way
  HttpTransfers(const HttpTransfers&) = delete;
  HttpTransfers& operator=(const HttpTransfers&) = delete;

  // Requires: an id that is not on its way.
  void start(std::uint64_t id, HttpRequest request);
  // Drives all transfers until one has ended, `wake` was called or the time is over. Those that
  // have ended.
  std::vector<std::pair<std::uint64_t, HttpReply>> wait(std::chrono::milliseconds longest);
  // `wait` returns at once, also when it is called later.
  void wake();
  // Ends all that is on its way, without replies.
  void abort_all();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace limbic::rewards

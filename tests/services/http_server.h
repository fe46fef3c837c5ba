// Test support: an HTTP/1.1 server on loopback whose answers are written by hand, wrong ones too.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "trainer/base/fields.h"

namespace limbic::rewards {

struct HttpQuestion {
  std::string path;
  std::string head;  // request line and headers
  Json body;         // null without one
};

struct HttpAnswer {
  enum class How {
    kWhole,
    kNever,   // nothing until the server ends
    kAtOnce,  // the connection is closed without an answer
    kHalf,    // the connection is closed in the middle of the body
    kRaw      // the body alone, without status line and headers
  };
  int status = 200;
  std::string body;
  std::vector<std::string> headers = {};
  How how = How::kWhole;
};

class HttpServer {
 public:
  // Called from the threads of the connections, with the number of questions before this one.
  // `/models` is answered without it.
  using Script = std::function<HttpAnswer(const HttpQuestion&, int call)>;
  explicit HttpServer(Script script);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // "http://127.0.0.1:PORT/v1"
  const std::string& url() const { return url_; }
  int calls() const { return calls_; }
  int connections() const { return connections_; }

 private:
  void accept_all();
  void serve(int socket);
  bool answer(int socket, const HttpQuestion& question);
  void wait_for_end();

  Script script_;
  std::string url_;
  int listener_ = -1;
  std::atomic<int> calls_{0};
  std::atomic<int> connections_{0};
  std::mutex mutex_;
  std::condition_variable ending_;
  bool ended_ = false;
  std::set<int> open_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace limbic::rewards

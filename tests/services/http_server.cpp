#include "tests/services/http_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <stdexcept>

namespace limbic::rewards {
namespace {

bool send_all(int socket, const std::string& bytes) {
  for (std::size_t sent = 0; sent < bytes.size();) {
    const ssize_t count = send(socket, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (count <= 0) return false;
    sent += static_cast<std::size_t>(count);
  }
  return true;
}

// Until `buffer` holds at least `size` bytes, or (size 0) the end of the headers.
bool receive(int socket, std::string& buffer, std::size_t size) {
  while (size == 0 ? buffer.find("\r\n\r\n") == std::string::npos : buffer.size() < size) {
    char bytes[4096];
    const ssize_t count = recv(socket, bytes, sizeof bytes, 0);
    if (count <= 0) return false;
    buffer.append(bytes, static_cast<std::size_t>(count));
  }
  return true;
}

// The next question on a connection; empty when the other side is gone.
std::optional<HttpQuestion> next_question(int socket, std::string& buffer) {
  if (!receive(socket, buffer, 0)) return std::nullopt;
  const std::size_t head = buffer.find("\r\n\r\n") + 4;
  HttpQuestion question;
  question.head = buffer.substr(0, head);
  const std::size_t path = question.head.find(' ') + 1;
  question.path = question.head.substr(path, question.head.find(' ', path) - path);
  const std::size_t length = question.head.find("Content-Length: ");
  const std::size_t size =
      length == std::string::npos ? 0 : std::strtoul(question.head.c_str() + length + 16, {}, 10);
  if (size > 0 && !receive(socket, buffer, head + size)) return std::nullopt;
  if (size > 0) question.body = Json::parse(buffer.substr(head, size));
  buffer.erase(0, head + size);
  return question;
}

}  // namespace

HttpServer::HttpServer(Script script) : script_(std::move(script)) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* plain = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener_, plain, size) != 0 || listen(listener_, 64) != 0 ||
      getsockname(listener_, plain, &size) != 0) {
    throw std::runtime_error("no port on loopback");
  }
  url_ = fmt::format("http://127.0.0.1:{}/v1", ntohs(address.sin_port));
  acceptor_ = std::thread([this] { accept_all(); });
}

HttpServer::~HttpServer() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    for (const int connection : open_) shutdown(connection, SHUT_RDWR);
  }
  ending_.notify_all();
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  for (std::thread& thread : threads_) thread.join();
  close(listener_);
}

void HttpServer::accept_all() {
  while (true) {
    const int connection = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    const std::lock_guard lock(mutex_);
    if (ended_) {
      if (connection >= 0) close(connection);
      return;
    }
    if (connection < 0) continue;
    ++connections_;
    open_.insert(connection);
    threads_.emplace_back([this, connection] { serve(connection); });
  }
}

void HttpServer::serve(int connection) {
  std::string buffer;
  while (const auto question = next_question(connection, buffer)) {
    if (!answer(connection, *question)) break;
  }
  const std::lock_guard lock(mutex_);
  open_.erase(connection);
  close(connection);
}

// False: the connection is to be closed.
bool HttpServer::answer(int connection, const HttpQuestion& question) {
  using How = HttpAnswer::How;
  const HttpAnswer answer = question.path == "/v1/models"
                                ? HttpAnswer{200, R"({"object":"list","data":[]})"}
                                : script_(question, calls_++);
  std::string head =
      fmt::format("HTTP/1.1 {} Said\r\nContent-Length: {}\r\n", answer.status, answer.body.size());
  for (const std::string& header : answer.headers) head += header + "\r\n";
  switch (answer.how) {
    case How::kWhole:
      return send_all(connection, head + "\r\n" + answer.body);
    case How::kNever:
      wait_for_end();
      return false;
    case How::kAtOnce:
      return false;
    case How::kHalf:
      send_all(connection, head + "\r\n" + answer.body.substr(0, answer.body.size() / 2));
      return false;
    case How::kRaw:
      send_all(connection, answer.body);
      return false;
  }
  return false;
}

void HttpServer::wait_for_end() {
  std::unique_lock lock(mutex_);
  ending_.wait(lock, [this] { return ended_; });
}

}  // namespace limbic::rewards

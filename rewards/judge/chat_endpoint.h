// An OpenAI-compatible server that judges ask. One thread of its own drives all calls, so that
// limits hold over all terms and threads that share it, and connections are kept.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rewards/judge/chat_protocol.h"

namespace limbic::rewards {

class ChatEndpoint {
 public:
  // `name` is its key under `rewards.endpoints`; `seed` decides the jitter of waits. Does not
  // connect. Throws ConfigError: the key cannot be resolved.
  ChatEndpoint(std::string name, const EndpointConfig& config, std::uint64_t seed);
  ~ChatEndpoint();
  ChatEndpoint(const ChatEndpoint&) = delete;
  ChatEndpoint& operator=(const ChatEndpoint&) = delete;

  // One reply per question, in order. Blocks; may be called from several threads at once. Throws
  // RemoteError when the endpoint answers nothing for `unreachable_after_s`, or refuses for good.
  std::vector<ChatReply> ask(std::span<const ChatQuestion> questions);

  // Waits until the server answers, for up to `deadline_s`. Throws RemoteError.
  void connect();

  const std::string& name() const { return name_; }
  const EndpointConfig& config() const { return config_; }
  // "NAME (MODEL)", for details.
  std::string title() const { return name_ + " (" + config_.model + ")"; }
  // All that decides what it answers, as text: the name, model and settings; neither address, key,
  // limits nor deadlines.
  std::string identity() const;

 private:
  struct Impl;
  std::string name_;
  EndpointConfig config_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace limbic::rewards

#include "rewards/service/reward_service.h"

#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/services/fake_worker.h"
#include "trainer/base/error.h"
#include "trainer/base/yaml_config.h"

namespace limbic::rewards {
namespace {

namespace wire = reward::v1;

std::unique_ptr<wire::RewardService::Stub> stub_of(const RewardServer& server) {
  return wire::RewardService::NewStub(
      grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials()));
}

wire::ScoreRequest request_of(const std::vector<std::pair<std::string, std::string>>& samples) {
  wire::ScoreRequest request;
  request.set_policy_hash("abc");
  for (const auto& [key, text] : samples) {
    request.add_samples()->set_key(key);
    request.mutable_samples()->rbegin()->set_completion(text);
  }
  return request;
}

void set_deadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
}

TEST(RewardService, AnswersInTheOrderOfTheRequest) {
  RewardServer server(loopback(), std::make_shared<EchoScorer>());
  grpc::ClientContext context;
  set_deadline(context);
  wire::ScoreReply reply;
  const auto request = request_of({{"b", "2"}, {"a", "1"}});
  ASSERT_TRUE(stub_of(server)->Score(&context, request, &reply).ok());
  ASSERT_EQ(reply.scores_size(), 2);
  EXPECT_EQ(reply.scores(0).key(), "b");
  EXPECT_EQ(reply.scores(0).reward(), 2.0);
  EXPECT_EQ(reply.scores(1).key(), "a");
  EXPECT_EQ(reply.policy_hash(), "abc");
}

TEST(RewardService, StreamsReplies) {
  RewardServer server(loopback(), std::make_shared<EchoScorer>());
  grpc::ClientContext context;
  set_deadline(context);
  const auto stub = stub_of(server);
  const auto stream = stub->ScoreStream(&context);
  for (const char* text : {"3", "4"}) {
    ASSERT_TRUE(stream->Write(request_of({{text, text}})));
    wire::ScoreReply reply;
    ASSERT_TRUE(stream->Read(&reply));
    EXPECT_EQ(reply.scores(0).reward(), std::stod(text));
  }
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST(RewardService, DescribesItsTerms) {
  RewardServer server(loopback(), std::make_shared<EchoScorer>());
  grpc::ClientContext context;
  set_deadline(context);
  wire::DescribeReply reply;
  ASSERT_TRUE(stub_of(server)->Describe(&context, {}, &reply).ok());
  EXPECT_EQ(reply.terms(0).name(), "echo");
  EXPECT_EQ(reply.graph_hash(), "hash");
  EXPECT_EQ(reply.max_batch(), 1024);
}

TEST(RewardService, RefusesRequestsThatBreakTheProtocol) {
  RewardServer server(loopback(), std::make_shared<EchoScorer>());
  for (const auto& samples :
       {std::vector<std::pair<std::string, std::string>>{{"", "1"}},
        std::vector<std::pair<std::string, std::string>>{{"a", "1"}, {"a", "2"}}}) {
    grpc::ClientContext context;
    set_deadline(context);
    wire::ScoreReply reply;
    EXPECT_EQ(stub_of(server)->Score(&context, request_of(samples), &reply).error_code(),
              grpc::INVALID_ARGUMENT);
  }
}

TEST(RewardService, AnExceptionBecomesAStatus) {
  RewardServer server(loopback(), std::make_shared<EchoScorer>());
  grpc::ClientContext context;
  set_deadline(context);
  wire::ScoreReply reply;
  EXPECT_EQ(stub_of(server)->Score(&context, request_of({{"a", "no number"}}), &reply).error_code(),
            grpc::INTERNAL);
}

TEST(RewardService, RefusesMessagesOverItsLimit) {
  RewardServer server(loopback(), std::make_shared<EchoScorer>());
  grpc::ClientContext context;
  set_deadline(context);
  wire::ScoreReply reply;
  const auto request = request_of({{"a", std::string(17 << 20, '1')}});
  EXPECT_EQ(stub_of(server)->Score(&context, request, &reply).error_code(),
            grpc::RESOURCE_EXHAUSTED);
}

// The reply of a call whose messages are given as bytes.
std::string raw_call(const RewardServer& server, const std::string& method,
                     const std::string& bytes) {
  grpc::GenericStub stub(grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  set_deadline(context);
  grpc::CompletionQueue queue;
  const auto step = [&] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  const auto call = stub.PrepareCall(&context, method, &queue);
  call->StartCall(nullptr);
  if (!step()) return "no call";
  grpc::Slice slice(bytes);
  call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
  if (!step()) return "no write";
  call->WritesDone(nullptr);
  step();
  grpc::ByteBuffer reply;
  call->Read(&reply, nullptr);
  std::string text = "no reply";
  if (step()) {
    grpc::Slice whole;
    if (reply.DumpToSingleSlice(&whole).ok()) text.assign(whole.begin(), whole.end());
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  step();
  return text;
}

TEST(RewardService, ItsHealthServiceAnswersServing) {
  RewardServer server(loopback(), std::make_shared<EchoScorer>());
  EXPECT_EQ(raw_call(server, "/grpc.health.v1.Health/Check", ""), "\x08\x01");
}

TEST(RewardService, ReflectionNamesTheService) {
  RewardServer server(loopback(), std::make_shared<EchoScorer>());
  // Field 7 (list_services) with an empty string.
  const std::string reply =
      raw_call(server, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
               std::string("\x3a\x00", 2));
  EXPECT_NE(reply.find("limbic.reward.v1.RewardService"), std::string::npos);
}

TEST(RewardService, WaitEndsWithShutdown) {
  RewardServer server(loopback(), std::make_shared<EchoScorer>());
  std::thread waiting([&] { server.wait(); });
  server.shutdown();
  waiting.join();
}

TEST(RewardService, ATakenAddressIsAConfigError) {
  RewardServer first(loopback(), std::make_shared<EchoScorer>());
  ServeConfig config;
  config.address = first.address();
  EXPECT_THROW(RewardServer(config, std::make_shared<EchoScorer>()), ConfigError);
}

TEST(RewardService, RefusesSettingsOfLaterVersionsByName) {
  const auto error_of = [](const std::string& yaml) -> std::string {
    ServeConfig config;
    try {
      YamlDocument::parse(yaml, "serve.yaml").read(config);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(
      error_of("metrics_address: 127.0.0.1:9000"),
      "serve.yaml:1: metrics_address: got '127.0.0.1:9000', want \"\"; this version serves no "
      "metrics yet");
  EXPECT_EQ(error_of("tls: {cert: a, key: b, client_ca: c}"),
            "serve.yaml:1: tls: got a section, want none; this version does not have TLS yet");
  EXPECT_EQ(error_of("address: 127.0.0.1:1\nthreads: 2"), "no error");
}

}  // namespace
}  // namespace limbic::rewards

// A run that is stopped, killed or loses its worker ends up where an undisturbed one does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "tests/support/workplace.h"

namespace limbic::test {
namespace {

constexpr const char* kLora = "lora: {r: 4, alpha: 8, dropout: 0.1}\n";
constexpr const char* kSft =
    "stages:\n  - {name: s, type: sft, data: d, steps: 300, per_device_train_batch_size: 4, "
    "gradient_accumulation_steps: 2, learning_rate: 1.0e-3, logging_steps: 1, save_steps: 7}\n";
constexpr const char* kGrpo =
    "stages:\n  - {name: s, type: grpo, data: d, steps: 60, num_generations: 4, "
    "per_device_train_batch_size: 16, max_completion_length: 8, learning_rate: 1.0e-3, "
    "num_iterations: 2, beta: 0.05, logging_steps: 1, save_steps: 6}\n";
constexpr const char* kGraph = "graph: {name: letter, type: regex, pattern: '[a-m]'}";

class Resume : public testing::Test {
 protected:
  std::vector<std::string> train(const std::string& run) {
    return {limbic_binary(), "train", place_.file("config.yaml"), "run.output=" + place_.file(run)};
  }
  void undisturbed() { expect_ok(run_command(train("plain"))); }

  // Stops the run `times` times, each time after its first step, then lets it end.
  void stopped(int number, int times) {
    for (int i = 0; i < times; ++i) {
      Process process(train("stopped"));
      ASSERT_TRUE(process.wait_for("/" + steps_)) << process.err();
      process.signal(number);
      const Ended ended = process.finish();
      ASSERT_EQ(ended.code, 75) << ended.err;
      EXPECT_NE(ended.err.find("stopped: "), std::string::npos) << ended.err;
    }
    const Ended last = run_command(train("stopped"));
    expect_ok(last);
    EXPECT_NE(last.err.find("resumed after step"), std::string::npos) << last.err;
  }

  void expect_same(const std::string& weights, const std::string& other = "stopped") {
    const auto lines = place_.metrics("plain");
    EXPECT_EQ(std::to_string(lines.size()), steps_);
    EXPECT_EQ(place_.metrics(other), lines);
    EXPECT_TRUE(place_.snapshot(other + "/s").at(weights) == place_.snapshot("plain/s").at(weights))
        << "weights differ";
  }

  std::string steps_;
  Workplace place_;
};

TEST_F(Resume, SftWithDropoutGoesOnExactly) {
  place_.write_rows("rows.jsonl", chats(40));
  place_.write_config(std::string(kLora) + kSft);
  steps_ = "300";
  undisturbed();
  stopped(SIGINT, 2);
  expect_same("adapter_model.safetensors");
}

TEST_F(Resume, GrpoWithTwoIterationsGoesOnExactly) {
  place_.write_rows("rows.jsonl", prompts(12));
  place_.write_config("rewards: {" + std::string(kGraph) + "}\n" + kGrpo);
  steps_ = "60";
  undisturbed();
  stopped(SIGTERM, 2);
  expect_same("model.safetensors");
}

// Nothing is asked of a process that is killed: the last checkpoint counts.
TEST_F(Resume, AKilledRunGoesOnFromItsLastCheckpoint) {
  place_.write_rows("rows.jsonl", chats(40));
  place_.write_config(std::string(kLora) + kSft);
  steps_ = "300";
  undisturbed();
  for (const int number : {SIGINT, SIGKILL}) {
    Process process(train("stopped"));
    ASSERT_TRUE(process.wait_for("/300")) << process.err();
    process.signal(number);
    const Ended ended = process.finish();
    EXPECT_TRUE(ended.code == 75 || ended.signal == SIGKILL) << ended.err;
  }
  expect_ok(run_command(train("stopped")));
  expect_same("adapter_model.safetensors");
}

TEST_F(Resume, AWorkerThatIsKilledAndComesBackChangesNothing) {
  place_.write_rows("rows.jsonl", prompts(12));
  const std::string serve = place_.write(
      "serve.yaml", "rewards: {" + std::string(kGraph) + "}\nserve: {address: '127.0.0.1:0'}\n");
  auto worker =
      std::make_unique<Process>(std::vector<std::string>{limbic_binary(), "serve", serve});
  const std::string address = served_address(*worker);
  ASSERT_FALSE(address.empty()) << worker->err();
  place_.write_config("rewards: {workers: ['" + address + "'], deadline_s: 5}\n" + kGrpo);
  steps_ = "60";
  undisturbed();

  Process process(train("stopped"));
  ASSERT_TRUE(process.wait_for("s 1/60")) << process.err();
  worker->signal(SIGKILL);
  EXPECT_EQ(worker->finish().signal, SIGKILL);
  worker = std::make_unique<Process>(
      std::vector<std::string>{limbic_binary(), "serve", serve, "serve.address=" + address});
  ASSERT_EQ(served_address(*worker), address) << worker->err();
  expect_ok(process.finish());
  expect_same("model.safetensors");
}

}  // namespace
}  // namespace limbic::test

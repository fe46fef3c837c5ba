// Two ranks that disagree, die or are asked to stop end together and leave what can be resumed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/support/workplace.h"

namespace limbic::test {
namespace {

constexpr const char* kSft =
    "lora: {r: 4, alpha: 8, dropout: 0.1}\n"
    "stages:\n  - {name: s, type: sft, data: d, steps: 300, per_device_train_batch_size: 4, "
    "learning_rate: 1.0e-3, logging_steps: 1, save_steps: 7}\n";

struct State {
  std::string name;  // empty: there is no such process
  pid_t parent = 0;
};

State state_of(const std::string& id) {
  std::ifstream in("/proc/" + id + "/stat");
  std::string text;
  if (!std::getline(in, text)) return {};
  const std::size_t begin = text.find('('), end = text.rfind(')');
  if (begin == std::string::npos || end == std::string::npos) return {};
  State state{.name = text.substr(begin + 1, end - begin - 1)};
  char letter = 0;  // running, asleep, ...
  std::istringstream(text.substr(end + 1)) >> letter >> state.parent;
  return state;
}

// A process of somebody else, watched until it ends.
class Watch {
 public:
  explicit Watch(pid_t id) : descriptor_(static_cast<int>(::syscall(SYS_pidfd_open, id, 0))) {}
  ~Watch() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  // False also when there was no such process to watch.
  bool ends_within(double seconds) const {
    pollfd waiting{descriptor_, POLLIN, 0};
    return descriptor_ >= 0 && ::poll(&waiting, 1, static_cast<int>(seconds * 1000)) == 1;
  }

 private:
  int descriptor_;
};

// Ids of the `limbic` processes that `launcher` started.
std::vector<pid_t> ranks_of(pid_t launcher) {
  std::vector<pid_t> ranks;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string id = entry.path().filename().string();
    const State state = state_of(id);
    if (state.parent == launcher && state.name == "limbic") ranks.push_back(std::stoi(id));
  }
  return ranks;
}

class Failures : public testing::Test {
 protected:
  Failures() { place_.write_rows("rows.jsonl", chats(40)); }

  std::vector<std::string> train(const std::string& run) {
    return mpirun(2, {"train", place_.file("config.yaml"), "run.output=" + place_.file(run)});
  }

  Workplace place_;
};

TEST_F(Failures, TwoConfigsForOneRunAreRefused) {
  const std::string one = place_.write_config(kSft);
  const std::string other =
      place_.write_config(kSft + std::string("parallel: {zero_stage: 0}\n"), "other.yaml");
  const auto before = place_.snapshot();
  const Ended ended =
      run_command({"mpirun", "--oversubscribe", "--bind-to", "none", "-n", "1", limbic_binary(),
                   "train", one, ":", "-n", "1", limbic_binary(), "train", other});
  EXPECT_EQ(ended.code, 2) << ended.err;
  const auto errors = error_lines(ended);
  ASSERT_EQ(errors.size(), 1U) << ended.err;
  EXPECT_NE(errors[0].find("parallel.zero_stage"), std::string::npos) << errors[0];
  EXPECT_THAT(changes(before, place_.snapshot()), testing::IsEmpty());
}

TEST_F(Failures, BadInputIsSaidOnce) {
  place_.write_config(kSft);
  place_.write("rows.jsonl", "{\"messages\": 5}\n");
  const Ended ended = run_command(train("out"));
  EXPECT_EQ(ended.code, 2) << ended.err;
  EXPECT_EQ(error_lines(ended).size(), 1U) << ended.err;
}

TEST_F(Failures, ARankThatDiesEndsAll) {
  place_.write_config(kSft);
  Process process(train("out"));
  ASSERT_TRUE(process.wait_for("/300")) << process.err();
  const auto ranks = ranks_of(process.id());
  ASSERT_EQ(ranks.size(), 2U);
  const Watch survivor(ranks[0]), launcher(process.id());
  ASSERT_EQ(::kill(ranks[1], SIGKILL), 0);
  EXPECT_TRUE(launcher.ends_within(15.0));
  EXPECT_TRUE(survivor.ends_within(15.0));
  EXPECT_NE(process.finish().code, 0);
  // What it left goes on.
  expect_ok(run_command(train("out")));
  EXPECT_EQ(place_.metric("loss", "s").size(), 300U);
}

TEST_F(Failures, StoppedRanksGoOnExactly) {
  place_.write_config(kSft);
  expect_ok(run_command(train("plain")));
  Process process(train("stopped"));
  ASSERT_TRUE(process.wait_for("/300")) << process.err();
  const auto ranks = ranks_of(process.id());
  ASSERT_EQ(ranks.size(), 2U);
  for (const pid_t rank : ranks) ASSERT_EQ(::kill(rank, SIGTERM), 0);
  const Ended ended = process.finish();
  EXPECT_EQ(ended.code, 75) << ended.err;
  const Ended last = run_command(train("stopped"));
  expect_ok(last);
  EXPECT_NE(last.err.find("resumed after step"), std::string::npos) << last.err;
  EXPECT_EQ(place_.metrics("stopped"), place_.metrics("plain"));
  EXPECT_TRUE(place_.snapshot("stopped/s").at("adapter_model.safetensors") ==
              place_.snapshot("plain/s").at("adapter_model.safetensors"));
}

}  // namespace
}  // namespace limbic::test

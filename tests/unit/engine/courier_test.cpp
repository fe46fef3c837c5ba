#include "trainer/engine/sharding/courier.h"

#include <gtest/gtest.h>

#include <future>
#include <stdexcept>
#include <vector>

namespace limbic::engine {
namespace {

TEST(Courier, WorksInTheOrderOfThePosts) {
  for (const bool threaded : {false, true}) {
    Courier courier(threaded);
    std::vector<int> seen;
    for (int i = 0; i < 100; ++i) courier.post([&seen, i] { seen.push_back(i); });
    courier.wait_all();
    ASSERT_EQ(seen.size(), 100U);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(seen[static_cast<std::size_t>(i)], i);
  }
}

TEST(Courier, WorksWhileTheCallerDoes) {
  Courier courier(true);
  std::promise<void> go;
  const Courier::Ticket ticket = courier.post([&] { go.get_future().wait(); });
  go.set_value();  // would never come from within the post
  courier.wait(ticket);
}

TEST(Courier, AFailureEndsWhatFollows) {
  Courier courier(true);
  bool ran = false;
  const auto failing = courier.post([] { throw std::runtime_error("lost"); });
  EXPECT_THROW(courier.wait(failing), std::runtime_error);
  const auto next = courier.post([&] { ran = true; });
  EXPECT_THROW(courier.wait(next), std::runtime_error);
  EXPECT_THROW(courier.wait_all(), std::runtime_error);
  EXPECT_FALSE(ran);
}

TEST(Courier, CancelDropsWhatHasNotBegun) {
  Courier courier(true);
  std::promise<void> begun, go;
  bool first = false, second = false;
  courier.post([&] {
    begun.set_value();
    go.get_future().wait();
    first = true;
  });
  begun.get_future().wait();
  courier.post([&] { second = true; });
  std::thread cancelling([&] { courier.cancel(); });
  go.set_value();
  cancelling.join();
  courier.wait_all();
  EXPECT_TRUE(first);
  // Either it was dropped, or it had begun before the cancel did.
  courier.cancel();
  const bool ran = second;
  courier.wait_all();
  EXPECT_EQ(second, ran);
}

TEST(Courier, WithoutAThreadErrorsComeFromThePost) {
  Courier courier(false);
  EXPECT_THROW(courier.post([] { throw std::runtime_error("lost"); }), std::runtime_error);
}

}  // namespace
}  // namespace limbic::engine

#include "launch/exit_code.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "trainer/base/error.h"

namespace limbic::launch {

namespace {

// What is quoted from a file may be of any length; both ends of a message say what it is about.
constexpr std::size_t kLongestMessage = 2000;

// Without line breaks, or anything else that a terminal would take for a command.
std::string one_line(std::string text) {
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7F; };
  std::replace_if(text.begin(), text.end(), is_control, ' ');
  if (text.size() <= kLongestMessage) return text;
  const auto is_inside = [&](std::size_t at) {  // a character of UTF-8
    return (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
  };
  std::size_t head = kLongestMessage / 2, tail = text.size() - kLongestMessage / 2;
  while (head > 0 && is_inside(head)) --head;
  while (tail < text.size() && is_inside(tail)) ++tail;
  return text.substr(0, head) + " ... " + text.substr(tail);
}

}  // namespace

Failure failure_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Interrupted& e) {
    return {kExitInterrupted, one_line(e.what())};
  } catch (const ConfigError& e) {
    return {kExitUserError, one_line(e.what())};
  } catch (const DataError& e) {
    return {kExitUserError, one_line(e.what())};
  } catch (const std::filesystem::filesystem_error& e) {
    return {kExitUserError, fmt::format("{}: got \"{}\", want files that can be read and written",
                                        e.path1().string(), e.code().message())};
  } catch (const Error& e) {  // CommError, RemoteError
    return {kExitLostContact, one_line(e.what())};
  } catch (const c10::OutOfMemoryError& e) {
    return {kExitUserError,
            fmt::format("GPU: got no memory, want smaller batches (per_device_train_batch_size or "
                        "max_tokens_per_batch, generation_batch_size): {}",
                        one_line(e.what_without_backtrace()))};
  } catch (const c10::Error& e) {
    return {kExitBug, "internal: " + one_line(e.what_without_backtrace())};
  } catch (const std::bad_alloc&) {
    return {kExitBug, "internal: out of memory"};
  } catch (const std::exception& e) {
    return {kExitBug, std::string("internal: ") + one_line(e.what())};
  }
}

}  // namespace limbic::launch

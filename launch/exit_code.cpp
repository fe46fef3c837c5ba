#include "launch/exit_code.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "trainer/base/error.h"

namespace limbic::launch {

Failure failure_of(const std::exception_ptr& error) {
  const auto one_line = [](std::string text) {
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text;
  };
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

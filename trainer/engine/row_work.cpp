#include "trainer/engine/row_work.h"

#include <ATen/Parallel.h>

#include <exception>
#include <mutex>

#include "trainer/base/log.h"

namespace limbic::engine {

void for_every_row(std::int64_t rows, const std::function<void(std::int64_t)>& work) {
  std::mutex mutex;
  std::int64_t failed_row = rows;
  std::exception_ptr failure;
  at::parallel_for(0, rows, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      try {
        work(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (i < failed_row) {
          failed_row = i;
          failure = std::current_exception();
        }
        return;
      }
    }
  });
  if (failure) std::rethrow_exception(failure);
}

void report_drops(const RunContext& context, std::int64_t dropped, std::int64_t all,
                  std::int64_t limit) {
  if (dropped == all) {
    throw DataError(fmt::format("{}: got {} rows, all longer than {} tokens, want at least one",
                                context.stage_name, all, limit));
  }
  if (dropped > 0) {
    spdlog::info("{}: {} of {} rows are left out: longer than {} tokens", context.stage_name,
                 dropped, all, limit);
  }
}

}  // namespace limbic::engine

// metrics.jsonl of a run: one object per logged step,
// {"stage", "step", "time", names as in TRL ...}. Only rank 0 writes.
#pragma once

#include <cstdint>
#include <string>

#include "trainer/base/fields.h"

namespace limbic::metrics {

class MetricsLog {
 public:
  // `enabled` false (ranks other than 0): every call does nothing. Throws DataError when the file
  // cannot be written.
  MetricsLog(std::string path, bool enabled);
  ~MetricsLog();
  MetricsLog(const MetricsLog&) = delete;
  MetricsLog& operator=(const MetricsLog&) = delete;

  // Drops the lines of `stage` after `step`, which a resumed run will write again, and what a crash
  // tore at the end of the file. Everything else stays byte for byte.
  void resume_stage(const std::string& stage, std::int64_t step);

  // Appends one line and flushes it to the kernel. "time" is seconds since the epoch. A value that
  // is not finite becomes null (JSON has no NaN).
  void log(const std::string& stage, std::int64_t step, const Json& values);

 private:
  void open_file();
  void close_file();

  std::string path_;
  int descriptor_ = -1;
  bool enabled_;
};

}  // namespace limbic::metrics

#include "trainer/metrics/metrics_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "trainer/base/error.h"
#include "trainer/base/file.h"

namespace limbic::metrics {
namespace {

// JSON has no NaN and no infinity.
Json finite(const Json& value) {
  if (value.is_number_float() && !std::isfinite(value.get<double>())) return nullptr;
  if (!value.is_structured()) return value;
  Json out = value;
  for (auto& item : out) item = finite(item);
  return out;
}

bool is_later_line_of(const std::string& line, const std::string& stage, std::int64_t step) {
  const Json row = Json::parse(line, nullptr, false);
  if (row.is_discarded() || !row.is_object()) return true;  // torn by a crash
  return row.value("stage", "") == stage && row.value("step", std::int64_t{0}) > step;
}

}  // namespace

MetricsLog::MetricsLog(std::string path, bool enabled) : path_(std::move(path)), enabled_(enabled) {
  if (!enabled_) return;
  const std::filesystem::path folder = std::filesystem::path(path_).parent_path();
  std::error_code ignored;
  if (!folder.empty()) std::filesystem::create_directories(folder, ignored);
  open_file();
}

MetricsLog::~MetricsLog() { close_file(); }

void MetricsLog::open_file() {
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor_ < 0) {
    throw DataError(
        fmt::format("{}: got {}, want a file that can be written", path_, std::strerror(errno)));
  }
}

void MetricsLog::close_file() {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
}

void MetricsLog::resume_stage(const std::string& stage, std::int64_t step) {
  if (!enabled_) return;
  const std::string before = read_file(path_);
  std::string kept;
  for (std::size_t begin = 0; begin < before.size();) {
    const std::size_t end = before.find('\n', begin);
    if (end == std::string::npos) break;  // an unfinished last line
    const std::string line = before.substr(begin, end - begin);
    if (!is_later_line_of(line, stage, step)) kept += line + "\n";
    begin = end + 1;
  }
  if (kept == before) return;
  close_file();
  write_file_atomically(path_, kept);
  open_file();
}

void MetricsLog::log(const std::string& stage, std::int64_t step, const Json& values) {
  if (!enabled_) return;
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  Json row = {{"stage", stage}, {"step", step}, {"time", now.count()}};
  for (const auto& [key, value] : values.items()) row[key] = finite(value);
  const std::string line = row.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  std::size_t written = 0;
  while (written < line.size()) {
    const ssize_t count = ::write(descriptor_, line.data() + written, line.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      throw DataError(
          fmt::format("{}: got {}, want a file that can be written", path_, std::strerror(errno)));
    }
    written += static_cast<std::size_t>(count);
  }
}

}  // namespace limbic::metrics

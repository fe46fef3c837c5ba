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

// False for what is no line of ours.
bool is_later_line_of(const Json& row, const std::string& stage, std::int64_t step) {
  const auto its_stage = row.find("stage");
  const auto its_step = row.find("step");
  return its_stage != row.end() && *its_stage == stage && its_step != row.end() &&
         its_step->is_number_integer() && its_step->get<std::int64_t>() > step;
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
  std::size_t sound = 0;  // of `kept`: what follows was torn by a crash unless a sound line comes
  for (std::size_t begin = 0; begin < before.size();) {
    const std::size_t end = before.find('\n', begin);
    if (end == std::string::npos) break;  // an unfinished last line
    const std::string line = before.substr(begin, end + 1 - begin);
    begin = end + 1;
    const Json row = Json::parse(line, nullptr, false);
    if (!row.is_object() || !is_later_line_of(row, stage, step)) kept += line;
    if (row.is_object()) sound = kept.size();
  }
  kept.resize(sound);
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

#include "data/byte_source.h"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <vector>

#include "trainer/base/error.h"

namespace limbic::data {
namespace {

class PlainFile : public ByteSource {
 public:
  explicit PlainFile(const std::string& path)
      : file_(std::fopen(path.c_str(), "rb"), std::fclose) {}
  bool is_open() const { return file_ != nullptr; }

  std::size_t read(std::span<char> buffer) override {
    const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), file_.get());
    if (count == 0 && std::ferror(file_.get())) {
      throw DataError(fmt::format("cannot read: {}", std::strerror(errno)));
    }
    return count;
  }

 private:
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

class GzipFile : public ByteSource {
 public:
  explicit GzipFile(const std::string& path) : file_(gzopen(path.c_str(), "rb"), gzclose) {}
  bool is_open() const { return file_ != nullptr; }

  std::size_t read(std::span<char> buffer) override {
    const int count = gzread(file_.get(), buffer.data(), static_cast<unsigned>(buffer.size()));
    // zlib hands a file without the gzip signature through as it is.
    if (count > 0 && gzdirect(file_.get())) fail("no gzip header");
    if (count > 0) return static_cast<std::size_t>(count);
    int code = Z_OK;
    const char* reason = gzerror(file_.get(), &code);
    if (code == Z_BUF_ERROR) fail("it ends early");
    if (count < 0 || code != Z_OK) fail(reason);
    return 0;
  }

 private:
  [[noreturn]] static void fail(std::string_view reason) {
    throw DataError(fmt::format("got damaged gzip data ({}), want a whole .gz file", reason));
  }
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
};

class ZstdFile : public ByteSource {
 public:
  explicit ZstdFile(std::unique_ptr<PlainFile> file)
      : file_(std::move(file)),
        stream_(ZSTD_createDStream(), ZSTD_freeDStream),
        input_(ZSTD_DStreamInSize()) {
    check(stream_ != nullptr, "zstd stream");
  }

  std::size_t read(std::span<char> buffer) override {
    ZSTD_outBuffer out{buffer.data(), buffer.size(), 0};
    while (out.pos == 0) {
      if (in_.pos == in_.size && !refill()) {
        // A frame that is not finished may still hold bytes that wait for room in the output.
        if (!inside_frame_) return 0;
        decompress(out);
        if (out.pos == 0) fail("it ends early");
        break;
      }
      decompress(out);
    }
    return out.pos;
  }

 private:
  bool refill() {
    in_ = {input_.data(), file_->read(input_), 0};
    return in_.size > 0;
  }
  void decompress(ZSTD_outBuffer& out) {
    const std::size_t hint = ZSTD_decompressStream(stream_.get(), &out, &in_);
    if (ZSTD_isError(hint)) fail(ZSTD_getErrorName(hint));
    inside_frame_ = hint != 0;
  }
  [[noreturn]] static void fail(std::string_view reason) {
    throw DataError(fmt::format("got damaged zstd data ({}), want a whole .zst file", reason));
  }

  std::unique_ptr<PlainFile> file_;
  std::unique_ptr<ZSTD_DStream, std::size_t (*)(ZSTD_DStream*)> stream_;
  std::vector<char> input_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  bool inside_frame_ = false;
};

}  // namespace

std::unique_ptr<ByteSource> open_bytes(const std::string& path) {
  const auto missing = [&]() -> DataError {
    return DataError(
        fmt::format("{}: got no readable file, want JSON lines; check the path", path));
  };
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) throw missing();
  if (path.ends_with(".gz")) {
    auto file = std::make_unique<GzipFile>(path);
    if (!file->is_open()) throw missing();
    return file;
  }
  auto file = std::make_unique<PlainFile>(path);
  if (!file->is_open()) throw missing();
  if (path.ends_with(".zst")) return std::make_unique<ZstdFile>(std::move(file));
  return file;
}

}  // namespace limbic::data

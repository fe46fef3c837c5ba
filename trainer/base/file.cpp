#include "trainer/base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <vector>

#include "trainer/base/error.h"

namespace limbic {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t kMaxFileBytes = std::int64_t{1} << 30;

[[noreturn]] void fail(const std::string& path, const char* what) {
  throw DataError(fmt::format("{}: {}: {}", path, what, std::strerror(errno)));
}

void sync_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY);
  if (descriptor < 0) return;  // some file systems cannot open folders; the rename is still atomic
  ::fsync(descriptor);
  ::close(descriptor);
}

// A descriptor that is closed at the end; opening does not wait for the other end of a pipe.
struct Opened {
  explicit Opened(const std::string& path)
      : descriptor(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)) {}
  ~Opened() {
    if (descriptor >= 0) ::close(descriptor);
  }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;
  int descriptor;
};

class Digest {
 public:
  Digest() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    check(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1, "sha256");
  }
  void update(const char* data, std::size_t size) { EVP_DigestUpdate(context_.get(), data, size); }
  std::string hex() {
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    EVP_DigestFinal_ex(context_.get(), raw, &size);
    std::string text;
    for (unsigned i = 0; i < size; ++i) text += fmt::format("{:02x}", raw[i]);
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

}  // namespace

std::string read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream || fs::is_directory(path)) {
    throw DataError(fmt::format("{}: got no readable file; check the path", path));
  }
  std::string content((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  if (stream.bad()) fail(path, "cannot read");
  return content;
}

std::string read_regular_file(const std::string& path) {
  const Opened file(path);
  struct stat status {};
  if (file.descriptor < 0 || ::fstat(file.descriptor, &status) != 0) {
    throw DataError(
        fmt::format("{}: got no readable file ({}); check the path", path, std::strerror(errno)));
  }
  if (!S_ISREG(status.st_mode)) {
    throw DataError(fmt::format("{}: got a folder, pipe or device, want a file", path));
  }
  if (status.st_size > kMaxFileBytes) {
    throw DataError(fmt::format("{}: got a file of {} bytes, want at most {}", path, status.st_size,
                                kMaxFileBytes));
  }
  std::string content(static_cast<std::size_t>(status.st_size), '\0');
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t count = ::read(file.descriptor, content.data() + done, content.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(path, "cannot read");
    if (count == 0) break;  // it has become shorter meanwhile
    done += static_cast<std::size_t>(count);
  }
  content.resize(done);
  return content;
}

bool is_named(const std::string& path) {
  std::error_code error;
  return fs::symlink_status(path, error).type() != fs::file_type::not_found;
}

bool is_folder(const std::string& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

void write_file_atomically(const std::string& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

AtomicFile::AtomicFile(std::string path)
    : path_(std::move(path)), temporary_(fmt::format("{}.tmp-{}", path_, ::getpid())) {
  const fs::path parent = fs::path(path_).parent_path();
  std::error_code ignored;
  if (!parent.empty()) fs::create_directories(parent, ignored);
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail(temporary_, "cannot create");
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::string_view content) {
  while (!content.empty()) {
    const ssize_t count = ::write(descriptor_, content.data(), content.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(temporary_, "cannot write");
    content.remove_prefix(static_cast<std::size_t>(count));
  }
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) fail(temporary_, "cannot sync");
  ::close(descriptor_);
  descriptor_ = -1;
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail(path_, "cannot rename into place");
  const fs::path parent = fs::path(path_).parent_path();
  sync_folder(parent.empty() ? fs::path(".") : parent);
}

std::string sha256(std::string_view content) {
  Digest digest;
  digest.update(content.data(), content.size());
  return digest.hex();
}

std::string sha256_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw DataError(fmt::format("{}: got no readable file", path));
  Digest digest;
  std::vector<char> buffer(1 << 20);
  while (stream.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) ||
         stream.gcount() > 0) {
    digest.update(buffer.data(), static_cast<std::size_t>(stream.gcount()));
  }
  return digest.hex();
}

}  // namespace limbic

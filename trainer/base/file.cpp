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

[[noreturn]] void refuse_to_write(const std::string& path, const std::string& got) {
  throw DataError(fmt::format("{}: got {}, want a file that can be written", path, got));
}

fs::path folder_of(const std::string& path) {
  const fs::path parent = fs::path(path).parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

std::string name_aside(const std::string& path) {
  return fmt::format("{}.tmp-{}", path, ::getpid());
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

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)) {
  std::error_code error;
  const fs::file_status target = fs::status(path_, error);
  if (fs::is_directory(target) || path_.ends_with('/')) refuse_to_write(path_, "a folder");
  in_place_ = fs::exists(target) && !fs::is_regular_file(target);
  if (in_place_) {
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  } else {
    if (fs::is_symlink(path_, error) && fs::exists(target)) path_ = fs::canonical(path_);
    open_aside();
  }
  if (descriptor_ < 0) refuse_to_write(path_, std::strerror(errno));
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

// A file without a name goes with its process; not every file system has such files.
void AtomicFile::open_aside() {
  const fs::path folder = folder_of(path_);
  std::error_code ignored;
  fs::create_directories(folder, ignored);
  descriptor_ = ::open(folder.c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, 0644);
  if (descriptor_ >= 0 || (errno != EOPNOTSUPP && errno != EISDIR)) return;
  temporary_ = name_aside(path_);
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
}

void AtomicFile::write(std::string_view content) {
  while (!content.empty()) {
    const ssize_t count = ::write(descriptor_, content.data(), content.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(path_, "cannot write");
    content.remove_prefix(static_cast<std::size_t>(count));
  }
}

void AtomicFile::commit() {
  if (!in_place_) {
    if (::fsync(descriptor_) != 0) fail(path_, "cannot sync");
    if (temporary_.empty()) link_aside();
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail(path_, "cannot rename into place");
    sync_folder(folder_of(path_));
  }
  ::close(descriptor_);
  descriptor_ = -1;
}

void AtomicFile::link_aside() {
  const std::string name = name_aside(path_);
  const std::string handle = fmt::format("/proc/self/fd/{}", descriptor_);
  ::unlink(name.c_str());
  if (::linkat(AT_FDCWD, handle.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) != 0) {
    fail(path_, "cannot link into place");
  }
  temporary_ = name;
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

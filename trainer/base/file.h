// Whole-file reading and atomic writing, and digests.
#pragma once

#include <string>
#include <string_view>

namespace limbic {

// Throws DataError `PATH: got no readable file ...`.
std::string read_file(const std::string& path);

// The same for files that somebody else made. Throws also for what is no regular file (nobody may
// have to wait for a pipe), and for more than 1 GB.
std::string read_regular_file(const std::string& path);

// Something has this name, be it a link that leads nowhere: reading it then says what is wrong.
bool is_named(const std::string& path);
// A folder or a link to one.
bool is_folder(const std::string& path);

// Writes beside the target, fsyncs, renames: a reader sees the old or the new content, never a
// part. Creates missing parent folders. Throws DataError.
void write_file_atomically(const std::string& path, std::string_view content);

// A file that grows line by line and appears under its name only when `commit` is called.
// Destruction without commit removes it: an interrupted command leaves nothing half-written.
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  // Throws DataError when the disk refuses.
  void write(std::string_view content);
  void commit();

 private:
  std::string path_;
  std::string temporary_;
  int descriptor_ = -1;
};

// Lower-case hexadecimal SHA-256.
std::string sha256(std::string_view content);
std::string sha256_file(const std::string& path);

}  // namespace limbic

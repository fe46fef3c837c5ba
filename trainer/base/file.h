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

// A file that grows line by line and appears under its name only when `commit` is called. Before
// that it has no name where the file system allows it, and destruction without commit removes it:
// an interrupted command leaves nothing half-written. A link is followed. Devices and pipes
// (/dev/stdout) are written to as they are, never replaced.
class AtomicFile {
 public:
  // Throws DataError: a folder has this name, or the place cannot be written.
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  // Throws DataError when the disk refuses.
  void write(std::string_view content);
  void commit();

 private:
  void open_aside();
  void link_aside();

  std::string path_;
  std::string temporary_;  // beside it; empty while the file has no name
  int descriptor_ = -1;
  bool in_place_ = false;  // a device or a pipe
};

// Lower-case hexadecimal SHA-256.
std::string sha256(std::string_view content);
std::string sha256_file(const std::string& path);

}  // namespace limbic

// Bytes of a file, decompressed on the way: `.gz` (zlib, RFC 1952) and `.zst` (libzstd, RFC 8878)
// by the file's name, everything else as it is. Memory is bounded by the caller's buffer and the
// decompressor's window.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace limbic::data {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Fills from the front; 0 only at the end. Throws DataError (what is wrong, without file and
  // line): damaged or truncated compression, a disk that cannot be read.
  // Requires: a buffer that is not empty.
  virtual std::size_t read(std::span<char> buffer) = 0;
};

// Throws DataError `PATH: got no readable file ...`.
std::unique_ptr<ByteSource> open_bytes(const std::string& path);

}  // namespace limbic::data

// The safetensors file format, read through a memory map and written atomically.
// Source: https://github.com/huggingface/safetensors#format and its reference reader. Where the
// text and the reader differ we follow the stricter one, except for leading white space in the
// header.
//
// Everything in a file is untrusted: the whole header is checked before any tensor is handed out.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "trainer/tensor/named_tensors.h"

namespace limbic {

class SafetensorsFile {
 public:
  // Throws DataError `PATH: ...`: unreadable or truncated file, broken header, unknown dtype
  // (named), duplicate names, ranges that overlap, leave gaps or do not fit the shape.
  static SafetensorsFile open(const std::string& path);

  // In the order of the data.
  const std::vector<std::string>& names() const { return names_; }
  bool contains(const std::string& name) const { return entries_.count(name) != 0; }
  // A view of the mapped file; the mapping lives as long as the view. Do not write to it.
  // Throws DataError when there is no such tensor.
  at::Tensor tensor(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  struct Mapping;
  struct Entry {
    at::ScalarType type;
    std::vector<std::int64_t> shape;
    std::uint64_t begin, end;  // in the data section
  };
  void read_header(const std::string& path);
  void check_ranges(const std::string& path);

  std::string path_;
  std::shared_ptr<Mapping> mapping_;
  std::uint64_t data_offset_ = 0;
  std::vector<std::string> names_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

// A folder with model.safetensors, or with model.safetensors.index.json and its shards.
class SafetensorsFolder {
 public:
  // Throws DataError as above, and for an index that names files outside the folder or tensors that
  // their file lacks.
  static SafetensorsFolder open(const std::string& folder);

  const std::vector<std::string>& names() const { return names_; }
  bool contains(const std::string& name) const { return file_of_.count(name) != 0; }
  at::Tensor tensor(const std::string& name) const;

 private:
  std::string folder_;
  std::vector<SafetensorsFile> files_;
  std::vector<std::string> names_;
  std::map<std::string, std::size_t> file_of_;
};

// Writes aside, fsyncs, renames. Tensors are brought to the CPU and made contiguous one at a time.
// Order: wider dtypes first, then by name, as the reference writer.
void write_safetensors(const std::string& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

}  // namespace limbic

#include "trainer/tensor/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <set>
#include <string_view>

#include "trainer/base/error.h"
#include "trainer/base/fields.h"
#include "trainer/base/file.h"
#include "trainer/base/json_file.h"

namespace limbic {
namespace {

constexpr std::uint64_t kMaxHeader = 100'000'000;

struct TypeName {
  const char* name;
  at::ScalarType type;
};
constexpr TypeName kTypes[] = {{"F64", at::kDouble},
                               {"F32", at::kFloat},
                               {"F16", at::kHalf},
                               {"BF16", at::kBFloat16},
                               {"I64", at::kLong},
                               {"I32", at::kInt},
                               {"I16", at::kShort},
                               {"I8", at::kChar},
                               {"U8", at::kByte},
                               {"BOOL", at::kBool},
                               {"F8_E4M3", at::kFloat8_e4m3fn},
                               {"F8_E5M2", at::kFloat8_e5m2},
                               {"U16", at::kUInt16},
                               {"U32", at::kUInt32},
                               {"U64", at::kUInt64},
                               {"C64", at::kComplexFloat}};

const char* name_of(at::ScalarType type) {
  for (const TypeName& item : kTypes) {
    if (item.type == type) return item.name;
  }
  check(false, "dtype that safetensors cannot hold");
  return "";
}

constexpr const char* kFile = "safetensors file";
constexpr const char* kIndex = "index of safetensors files";

[[noreturn]] void broken(const std::string& path, const std::string& what,
                         const char* kind = kFile) {
  throw DataError(fmt::format("{}: got a broken {} ({}), want an intact one", path, kind, what));
}

// Keys are sorted: there may be hundreds of thousands.
using Table = nlohmann::json;

// Refuses duplicate keys, which plain parsing would merge silently.
Table parse_strictly(const std::string& path, const char* begin, std::uint64_t size,
                     const char* kind) {
  check_json_bounds({begin, size}, path, std::numeric_limits<std::size_t>::max());
  std::vector<std::set<std::string>> keys;
  const auto callback = [&](int, nlohmann::json::parse_event_t event, Table& parsed) {
    using Event = nlohmann::json::parse_event_t;
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(parsed.get<std::string>()).second) {
      broken(path, "the key '" + parsed.get<std::string>() + "' twice", kind);
    }
    return true;
  };
  try {
    Table json = Table::parse(begin, begin + size, callback);
    if (!json.is_object()) broken(path, "no JSON object where one belongs", kind);
    return json;
  } catch (const Table::exception& error) {
    broken(path, fmt::format("no JSON where an object belongs: {}", parse_problem(error)), kind);
  }
}

std::uint64_t unsigned_of(const std::string& path, const std::string& name, const Table& value) {
  if (!value.is_number_unsigned()) {
    broken(path, fmt::format("tensor '{}' has {} where a number of at least 0 belongs", name,
                             value.dump()));
  }
  return value.get<std::uint64_t>();
}

struct ParsedEntry {
  at::ScalarType type;
  std::vector<std::int64_t> shape;
  std::uint64_t begin, end;
};

ParsedEntry parse_entry(const std::string& path, const std::string& name, const Table& value) {
  if (!value.is_object() || !value.contains("dtype") || !value.contains("shape") ||
      !value.contains("data_offsets") || value.size() != 3 || !value["dtype"].is_string() ||
      !value["shape"].is_array() || !value["data_offsets"].is_array() ||
      value["data_offsets"].size() != 2) {
    broken(path, fmt::format("tensor '{}' lacks dtype, shape or data_offsets", name));
  }
  ParsedEntry entry{};
  const std::string type = value["dtype"].get<std::string>();
  const TypeName* known = std::find_if(std::begin(kTypes), std::end(kTypes),
                                       [&](const TypeName& item) { return type == item.name; });
  if (known == std::end(kTypes)) {
    broken(path, fmt::format("tensor '{}' has the unknown dtype '{}'", name, type));
  }
  entry.type = known->type;
  std::uint64_t bytes_needed = c10::elementSize(entry.type);
  std::uint64_t stride = 1;
  for (const Table& dimension : value["shape"]) {
    const std::uint64_t extent = unsigned_of(path, name, dimension);
    // An extent of 0 must not hide others that no tensor could have.
    if (__builtin_mul_overflow(bytes_needed, extent, &bytes_needed) ||
        __builtin_mul_overflow(stride, std::max<std::uint64_t>(1, extent), &stride) ||
        stride > INT64_MAX) {
      broken(path, fmt::format("tensor '{}' has a shape that overflows", name));
    }
    entry.shape.push_back(static_cast<std::int64_t>(extent));
  }
  entry.begin = unsigned_of(path, name, value["data_offsets"][0]);
  entry.end = unsigned_of(path, name, value["data_offsets"][1]);
  if (entry.begin > entry.end || entry.end - entry.begin != bytes_needed) {
    broken(path, fmt::format("tensor '{}' occupies {} to {}, its shape needs {} bytes", name,
                             entry.begin, entry.end, bytes_needed));
  }
  return entry;
}

}  // namespace

struct SafetensorsFile::Mapping {
  void* data = nullptr;
  std::uint64_t size = 0;
  ~Mapping() {
    if (data != nullptr) ::munmap(data, size);
  }
};

SafetensorsFile SafetensorsFile::open(const std::string& path) {
  // Without waiting for the other end, should it be a pipe.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  struct stat status {};
  if (descriptor < 0 || ::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    if (descriptor >= 0) ::close(descriptor);
    throw DataError(fmt::format("{}: got no readable file, want a safetensors file", path));
  }
  SafetensorsFile file;
  file.path_ = path;
  file.mapping_ = std::make_shared<Mapping>();
  file.mapping_->size = static_cast<std::uint64_t>(status.st_size);
  if (file.mapping_->size >= 8) {
    void* data = ::mmap(nullptr, file.mapping_->size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data != MAP_FAILED) file.mapping_->data = data;
  }
  ::close(descriptor);
  if (file.mapping_->data == nullptr) {
    broken(path, fmt::format("{} bytes cannot hold a header", file.mapping_->size));
  }
  file.read_header(path);
  return file;
}

void SafetensorsFile::read_header(const std::string& path) {
  const char* bytes = static_cast<const char*>(mapping_->data);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes, 8);  // little-endian, as every machine limbic runs on
  if (length > kMaxHeader || length > mapping_->size - 8) {
    broken(path, fmt::format("a header of {} bytes in a file of {}", length, mapping_->size));
  }
  data_offset_ = 8 + length;
  const Table header = parse_strictly(path, bytes + 8, length, kFile);
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      if (!value.is_object()) broken(path, "__metadata__ is no object");
      for (const auto& [key, text] : value.items()) {
        if (!text.is_string()) broken(path, "__metadata__ holds something that is no string");
        metadata_[key] = text.get<std::string>();
      }
      continue;
    }
    ParsedEntry entry = parse_entry(path, name, value);
    entries_.emplace(name, Entry{entry.type, std::move(entry.shape), entry.begin, entry.end});
  }
  check_ranges(path);
}

void SafetensorsFile::check_ranges(const std::string& path) {
  std::vector<std::pair<std::uint64_t, std::string>> order;
  for (const auto& [name, entry] : entries_) order.emplace_back(entry.begin, name);
  std::sort(order.begin(), order.end(), [&](const auto& a, const auto& b) {
    return std::pair(a.first, entries_.at(a.second).end) <
           std::pair(b.first, entries_.at(b.second).end);
  });
  std::uint64_t expected = 0;
  for (const auto& [begin, name] : order) {
    if (begin != expected) {
      broken(path, fmt::format("tensor '{}' begins at {}, want {}: an overlap or a gap", name,
                               begin, expected));
    }
    expected = entries_.at(name).end;
    names_.push_back(name);
  }
  if (data_offset_ + expected != mapping_->size) {
    broken(path, fmt::format("{} bytes, its tensors need {}: truncated or padded", mapping_->size,
                             data_offset_ + expected));
  }
}

at::Tensor SafetensorsFile::tensor(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) throw DataError(fmt::format("{}: got no tensor '{}'", path_, name));
  const Entry& entry = found->second;
  char* data = static_cast<char*>(mapping_->data) + data_offset_ + entry.begin;
  const auto options = at::TensorOptions().dtype(entry.type);
  if (entry.begin == entry.end) return at::empty(entry.shape, options);
  if (reinterpret_cast<std::uintptr_t>(data) % c10::elementSize(entry.type) != 0) {
    at::Tensor copy =
        at::empty(entry.shape, options);  // a header of odd length: legal, but unaligned
    std::memcpy(copy.data_ptr(), data, entry.end - entry.begin);
    return copy;
  }
  return at::from_blob(
      data, entry.shape, [keep = mapping_](void*) {}, options);
}

SafetensorsFolder SafetensorsFolder::open(const std::string& folder) {
  SafetensorsFolder out;
  out.folder_ = folder;
  const std::string single = folder + "/model.safetensors";
  const std::string index = folder + "/model.safetensors.index.json";
  if (is_named(single)) {
    out.files_.push_back(SafetensorsFile::open(single));
    for (const std::string& name : out.files_[0].names()) out.file_of_[name] = 0;
    out.names_ = out.files_[0].names();
    return out;
  }
  if (!is_named(index)) {
    throw DataError(
        fmt::format("{}: got no weights, want model.safetensors or "
                    "model.safetensors.index.json with its shards",
                    folder));
  }
  const std::string text = read_regular_file(index);
  const Table json = parse_strictly(index, text.data(), text.size(), kIndex);
  if (!json.contains("weight_map") || !json["weight_map"].is_object()) {
    throw DataError(
        fmt::format("{}: got no weight_map, want tensor names with their files", index));
  }
  std::map<std::string, std::size_t> opened;
  for (const auto& [name, value] : json["weight_map"].items()) {
    const std::string file = value.is_string() ? value.get<std::string>() : std::string();
    const bool leaves = file.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos;
    if (file.empty() || leaves || file == ".." || file == ".") {
      throw DataError(
          fmt::format("{}: weight_map.{}: got {}, want the name of a file in the folder", index,
                      name, value.dump()));
    }
    if (opened.count(file) == 0) {
      opened[file] = out.files_.size();
      out.files_.push_back(SafetensorsFile::open(folder + "/" + file));
    }
    const std::size_t at = opened[file];
    if (!out.files_[at].contains(name)) {
      throw DataError(fmt::format("{}: weight_map.{}: got {}, but that file has no such tensor",
                                  index, name, file));
    }
    out.file_of_[name] = at;
    out.names_.push_back(name);
  }
  return out;
}

at::Tensor SafetensorsFolder::tensor(const std::string& name) const {
  const auto found = file_of_.find(name);
  if (found == file_of_.end())
    throw DataError(fmt::format("{}: got no tensor '{}'", folder_, name));
  return files_[found->second].tensor(name);
}

void write_safetensors(const std::string& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<const NamedTensor*> order;
  for (const NamedTensor& item : tensors) order.push_back(&item);
  std::sort(order.begin(), order.end(), [](const NamedTensor* a, const NamedTensor* b) {
    if (a->tensor.element_size() != b->tensor.element_size()) {
      return a->tensor.element_size() > b->tensor.element_size();
    }
    return a->name < b->name;
  });
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  for (const NamedTensor* item : order) {
    const std::uint64_t end = offset + item->tensor.nbytes();
    check(!header.contains(item->name), "two tensors named " + item->name);
    header[item->name] = {{"dtype", name_of(item->tensor.scalar_type())},
                          {"shape", item->tensor.sizes().vec()},
                          {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const std::uint64_t length = text.size();
  AtomicFile file(path);
  file.write({reinterpret_cast<const char*>(&length), 8});
  file.write(text);
  for (const NamedTensor* item : order) {
    const at::Tensor flat = item->tensor.detach().cpu().contiguous();
    file.write({static_cast<const char*>(flat.data_ptr()), flat.nbytes()});
  }
  file.commit();
}

}  // namespace limbic

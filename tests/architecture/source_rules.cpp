#include "tests/architecture/source_rules.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <stdexcept>

namespace limbic::architecture {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxLines = 500;
constexpr size_t kMaxColumns = 100;
constexpr size_t kMaxFiles = 15;

struct Layer {
  std::string_view folder;
  int rank;    // may include its own folder and lower ranks
  bool torch;  // false: builds without torch and without MPI
};

// A folder belongs to the longest entry that begins its path. trainer/tensor stands between base
// and the rest of the lowest torch layer, so it has a rank of its own.
constexpr std::array kLayers = {
    Layer{"trainer/base", 0, false},   Layer{"proto", 0, false},
    Layer{"trainer/tensor", 1, true},  Layer{"trainer/device", 2, true},
    Layer{"trainer/optim", 2, true},   Layer{"trainer/model", 2, true},
    Layer{"data", 2, false},           Layer{"rl/loss", 2, true},
    Layer{"trainer/cuda", 3, true},    Layer{"trainer/parallel", 3, true},
    Layer{"rewards", 3, false},        Layer{"trainer/checkpoint", 4, true},
    Layer{"trainer/metrics", 4, true}, Layer{"trainer/generation", 5, true},
    Layer{"trainer/engine", 6, true},  Layer{"rl/policy", 7, true},
    Layer{"trainer/sft", 8, true},     Layer{"rl/grpo", 8, true},
    Layer{"rl/chord", 8, true},        Layer{"rl/dpo", 8, true},
    Layer{"rl/eval", 8, true},         Layer{"launch", 9, true},
};

constexpr std::array<std::string_view, 8> kFolders = {"trainer", "rl",      "rewards", "data",
                                                      "launch",  "configs", "proto",   "tests"};
constexpr std::array<std::string_view, 4> kProgram = {".cpp", ".h", ".cu", ".proto"};
constexpr std::array<std::string_view, 4> kScripts = {".py", ".sh", ".cmake", ".in"};
constexpr std::array<std::string_view, 5> kTorchHeaders = {"ATen/", "torch/", "c10/", "caffe2/",
                                                           "mpi.h"};

template <typename List>
bool holds(const List& list, std::string_view value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

bool is_build_description(const fs::path& path) {
  return path.filename() == "CMakeLists.txt" || path.extension() == ".cmake";
}

bool is_source(const fs::path& path) {
  const std::string extension = path.extension().string();
  return holds(kProgram, extension) || holds(kScripts, extension) || is_build_description(path);
}

const Layer* find_layer(std::string_view path) {
  const Layer* found = nullptr;
  for (const Layer& layer : kLayers) {
    const bool inside = path.starts_with(layer.folder) && path.size() > layer.folder.size() &&
                        path[layer.folder.size()] == '/';
    if (inside && (!found || layer.folder.size() > found->folder.size())) found = &layer;
  }
  return found;
}

// Code points, not bytes.
size_t columns(std::string_view line) {
  return static_cast<size_t>(std::count_if(line.begin(), line.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

// Why `from` may not include "to"; empty when it may.
std::string refusal(const Layer& from, std::string_view to) {
  const Layer* target = find_layer(to);
  if (!target) return "want the path from the repository root, in a layer";
  if (target->folder == from.folder) return {};
  if (target->rank >= from.rank) {
    return std::string("want a layer below ") + std::string(from.folder);
  }
  if (target->torch && !from.torch) {
    return std::string("want no torch in ") + std::string(from.folder);
  }
  return {};
}

std::string read_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error(path.string() + ": cannot be read");
  return {std::istreambuf_iterator<char>(in), {}};
}

template <typename Visit>  // visit(line, number from 1)
void each_line(const std::string& text, Visit visit) {
  std::istringstream in(text);
  std::string line;
  for (size_t number = 1; std::getline(in, line); ++number) visit(line, number);
}

std::string at(const SourceFile& file, size_t line, const std::string& message) {
  return file.path + ":" + std::to_string(line) + ": " + message;
}

}  // namespace

std::vector<SourceFile> read_tree(const fs::path& root) {
  std::vector<SourceFile> files;
  for (const std::string_view folder : kFolders) {
    if (!fs::is_directory(root / folder)) {
      throw std::runtime_error((root / folder).string() + ": missing");
    }
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      if (!entry.is_regular_file() || !is_source(entry.path())) continue;
      files.push_back(
          {entry.path().lexically_relative(root).generic_string(), read_text(entry.path())});
    }
  }
  std::sort(files.begin(), files.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  return files;
}

std::string_view layer_of(std::string_view path) {
  const Layer* layer = find_layer(path);
  return layer ? layer->folder : std::string_view();
}

Problems include_problems(const SourceFile& file) {
  Problems problems;
  const Layer* layer = find_layer(file.path);
  const std::string extension = fs::path(file.path).extension().string();
  if (!layer || (!holds(kProgram, extension) && extension != ".in")) return problems;
  static const std::regex include(R"re(^\s*#\s*include\s*(["<])([^">]+)[">])re");
  each_line(file.text, [&](const std::string& line, size_t number) {
    std::smatch match;
    if (!std::regex_search(line, match, include)) return;
    const std::string header = match[2];
    std::string reason;
    if (match[1] == "\"") {
      reason = refusal(*layer, header);
    } else if (!layer->torch &&
               std::any_of(kTorchHeaders.begin(), kTorchHeaders.end(),
                           [&](std::string_view prefix) { return header.starts_with(prefix); })) {
      reason = "want neither torch nor MPI in " + std::string(layer->folder);
    }
    if (!reason.empty()) problems.push_back(at(file, number, "got " + header + ", " + reason));
  });
  return problems;
}

Problems text_problems(const SourceFile& file) {
  Problems problems;
  const std::string extension = fs::path(file.path).extension().string();
  const bool narrow = (holds(kProgram, extension) && extension != ".proto") || extension == ".sh";
  // Spelled apart, so that this file keeps the rule.
  static const std::regex unfinished(
      "\\b(TO"
      "DO|FIX"
      "ME)\\b");
  size_t lines = 0;
  each_line(file.text, [&](const std::string& line, size_t number) {
    lines = number;
    if (narrow && columns(line) > kMaxColumns) {
      problems.push_back(at(file, number,
                            "got " + std::to_string(columns(line)) + " columns, want at most " +
                                std::to_string(kMaxColumns)));
    }
    if (std::regex_search(line, unfinished)) {
      problems.push_back(at(file, number, "got a mark of unfinished work, want none"));
    }
  });
  if (lines > kMaxLines) {
    problems.push_back(
        at(file, lines,
           "got " + std::to_string(lines) + " lines, want at most " + std::to_string(kMaxLines)));
  }
  return problems;
}

Problems folder_problems(const std::vector<SourceFile>& files) {
  std::map<std::string, std::set<std::string>> folders;
  for (const SourceFile& file : files) {
    const fs::path path(file.path);
    if (is_build_description(path)) continue;
    const std::string extension = path.extension().string();
    const bool pair = extension == ".h" || extension == ".cpp" || extension == ".cu";
    folders[path.parent_path().generic_string()].insert(pair ? path.stem().string()
                                                             : path.filename().string());
  }
  Problems problems;
  for (const auto& [folder, names] : folders) {
    if (names.size() <= kMaxFiles) continue;
    problems.push_back(folder + ": got " + std::to_string(names.size()) + " files, want at most " +
                       std::to_string(kMaxFiles));
  }
  return problems;
}

}  // namespace limbic::architecture

// The rules that every source file of the repository keeps: who may include whom, and how long
// files and lines may be. The functions are pure except `read_tree`, so that their own tests need
// no files.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace limbic::architecture {

struct SourceFile {
  std::string path;  // from the repository root, with `/`
  std::string text;
};

// One broken rule: `FILE:LINE: got X, want Y`, or `FOLDER: ...`.
using Problems = std::vector<std::string>;

// Every file with program text, a build description or a script in the code folders (trainer, rl,
// rewards, data, launch, configs, proto, tests), sorted by path. Data and golden files are left
// out. Throws std::runtime_error when a code folder is missing or a file cannot be read.
std::vector<SourceFile> read_tree(const std::filesystem::path& root);

// The layer that owns a path, as its folder; empty when none does (tests, data files).
std::string_view layer_of(std::string_view path);

// Arrows that point to the own rank or upwards, includes without their folder, and torch or MPI in
// the folders that build without them.
Problems include_problems(const SourceFile& file);

// More than 500 lines, lines of more than 100 columns (C++ and shell scripts), marks of
// unfinished work.
Problems text_problems(const SourceFile& file);

// Folders that hold more than 15 files. A header and its source count as one; build descriptions
// do not count.
Problems folder_problems(const std::vector<SourceFile>& files);

}  // namespace limbic::architecture

// Every C++ file stands as clang-format 14 (Debian 12's) writes it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <set>
#include <sstream>
#include <string>

#include "tests/architecture/source_rules.h"

namespace limbic::architecture {
namespace {

struct Ended {
  int status;
  std::string output;  // stdout and stderr
};

Ended run(const std::string& command) {
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (!pipe) return {-1, "popen failed"};
  std::string output;
  std::array<char, 4096> buffer{};
  size_t count = 0;
  while ((count = fread(buffer.data(), 1, buffer.size(), pipe)) > 0) {
    output.append(buffer.data(), count);
  }
  return {pclose(pipe), output};
}

// The first of the usual names that is version 14; empty when none is. Versions differ in their
// taste.
std::string find_formatter() {
  for (const char* name : {"clang-format-14", "clang-format"}) {
    const Ended version = run(std::string(name) + " --version");
    if (version.status == 0 && version.output.find("version 14.") != std::string::npos) return name;
  }
  return {};
}

// The files that the formatter complained about, each once.
std::set<std::string> complaints(const std::string& output) {
  std::set<std::string> files;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) {
    if (line.find(": error:") != std::string::npos) files.insert(line.substr(0, line.find(':')));
  }
  return files;
}

TEST(Format, EveryFileIsFormatted) {
  const std::string formatter = find_formatter();
  if (formatter.empty()) GTEST_SKIP() << "clang-format 14 is not installed";
  std::string command = "cd '" LIMBIC_SOURCE_DIR "' && " + formatter + " --dry-run -Werror";
  for (const SourceFile& file : read_tree(LIMBIC_SOURCE_DIR)) {
    if (file.path.ends_with(".h") || file.path.ends_with(".cpp")) command += " '" + file.path + "'";
  }
  const Ended ended = run(command);
  EXPECT_THAT(complaints(ended.output), testing::IsEmpty()) << "run " << formatter << " -i on them";
  EXPECT_EQ(ended.status, 0) << ended.output.substr(0, 2000);
}

}  // namespace
}  // namespace limbic::architecture

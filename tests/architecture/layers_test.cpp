// Holds the repository to its architecture: the layers, and the size of files, folders and lines.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/architecture/source_rules.h"

namespace limbic::architecture {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const std::vector<SourceFile>& tree() {
  static const std::vector<SourceFile> files = read_tree(LIMBIC_SOURCE_DIR);
  return files;
}

std::string include_line(const std::string& header) { return "#include \"" + header + "\"\n"; }

// One problem per line; matchers would cut a long list short.
std::string lines_of(const Problems& problems) {
  std::string lines;
  for (const std::string& problem : problems) lines += problem + "\n";
  return lines;
}

std::string all_problems(Problems (*check)(const SourceFile&)) {
  std::string lines;
  for (const SourceFile& file : tree()) lines += lines_of(check(file));
  return lines;
}

TEST(Layers, EveryIncludePointsDownwards) { EXPECT_EQ(all_problems(include_problems), ""); }

TEST(Layers, EverySourceFileOutsideTheTestsHasALayer) {
  std::set<std::string_view> seen;
  for (const SourceFile& file : tree()) {
    const bool program = file.path.ends_with(".h") || file.path.ends_with(".cpp");
    if (!program || file.path.starts_with("tests/")) continue;
    EXPECT_NE(layer_of(file.path), "") << file.path;
    seen.insert(layer_of(file.path));
  }
  EXPECT_GE(seen.size(), 10u) << "the tree was not read";
}

TEST(Layers, FilesAndLinesKeepTheirLength) { EXPECT_EQ(all_problems(text_problems), ""); }

TEST(Layers, FoldersHoldFewFiles) { EXPECT_EQ(lines_of(folder_problems(tree())), ""); }

TEST(LayerRules, TheLongestFolderOwnsAPath) {
  EXPECT_EQ(layer_of("rl/eval/table.h"), "rl/eval");
  EXPECT_EQ(layer_of("rl/advantage.h"), "");
  EXPECT_EQ(layer_of("data/tokenizer/bpe/bpe.h"), "data");
  EXPECT_EQ(layer_of("rlx/a.h"), "");
  EXPECT_EQ(layer_of("data"), "");
}

TEST(LayerRules, DownwardsAndInsideIsAllowed) {
  EXPECT_THAT(include_problems({"trainer/engine/a.cpp", include_line("trainer/model/decoder.h") +
                                                            include_line("rewards/scorer.h") +
                                                            include_line("trainer/engine/b.h")}),
              IsEmpty());
  EXPECT_THAT(include_problems({"data/a.cpp", include_line("data/tokenizer/bpe/bpe.h")}),
              IsEmpty());
  EXPECT_THAT(include_problems({"trainer/tensor/a.h", "#include <ATen/ATen.h>\n"}), IsEmpty());
}

TEST(LayerRules, UpwardsAndSidewaysIsRefusedWithItsLine) {
  EXPECT_THAT(include_problems({"data/row.h", "// text\n" + include_line("rewards/scorer.h")}),
              ElementsAre("data/row.h:2: got rewards/scorer.h, want a layer below data"));
  EXPECT_THAT(include_problems({"rl/grpo/a.cpp", include_line("trainer/sft/loss.h")}),
              ElementsAre("rl/grpo/a.cpp:1: got trainer/sft/loss.h, want a layer below rl/grpo"));
  EXPECT_THAT(include_problems({"rl/grpo/a.cpp", include_line("rl/eval/table.h")}),
              ElementsAre("rl/grpo/a.cpp:1: got rl/eval/table.h, want a layer below rl/grpo"));
}

TEST(LayerRules, TorchAndMpiStayOutOfTheFoldersWithoutThem) {
  EXPECT_EQ(include_problems({"rewards/a.cpp", "#include <ATen/ATen.h>\n"}).size(), 1u);
  EXPECT_EQ(include_problems({"trainer/base/a.cpp", "#  include <mpi.h>\n"}).size(), 1u);
  EXPECT_THAT(include_problems({"rewards/a.cpp", include_line("trainer/optim/adamw.h")}),
              ElementsAre("rewards/a.cpp:1: got trainer/optim/adamw.h, want no torch in rewards"));
}

TEST(LayerRules, AnIncludeNamesItsFolder) {
  EXPECT_EQ(include_problems({"data/a.cpp", include_line("row.h")}).size(), 1u);
  EXPECT_EQ(include_problems({"data/a.cpp", include_line("tests/services/fake_worker.h")}).size(),
            1u);
}

TEST(TextRules, LongFilesAndLinesAreFound) {
  std::string lines;
  for (int i = 0; i < 500; ++i) lines += "x\n";
  EXPECT_THAT(text_problems({"data/a.h", lines}), IsEmpty());
  EXPECT_THAT(text_problems({"data/a.h", lines + "x\n"}),
              ElementsAre("data/a.h:501: got 501 lines, want at most 500"));
  EXPECT_THAT(text_problems({"data/a.h", std::string(100, 'x')}), IsEmpty());
  EXPECT_THAT(text_problems({"data/a.h", std::string(101, 'x')}),
              ElementsAre("data/a.h:1: got 101 columns, want at most 100"));
}

TEST(TextRules, ColumnsAreCharactersNotBytes) {
  std::string line;
  for (int i = 0; i < 100; ++i) line += "é";
  EXPECT_THAT(text_problems({"data/a.h", line}), IsEmpty());
}

TEST(TextRules, MarksOfUnfinishedWorkAreFound) {
  EXPECT_EQ(text_problems({"launch/a.py", std::string("# TO") + "DO: more\n"}).size(), 1u);
  EXPECT_THAT(text_problems({"launch/a.py", std::string("# kTO") + "DOs is another word\n"}),
              IsEmpty());
}

TEST(FolderRules, AHeaderAndItsSourceAreOneFile) {
  std::vector<SourceFile> files = {{"data/CMakeLists.txt", ""}, {"data/more.cmake", ""}};
  for (char name = 'a'; name < 'a' + 15; ++name) {
    files.push_back({std::string("data/") + name + ".h", ""});
    files.push_back({std::string("data/") + name + ".cpp", ""});
  }
  EXPECT_THAT(folder_problems(files), IsEmpty());
  files.push_back({"data/tool.py", ""});
  EXPECT_THAT(folder_problems(files), ElementsAre("data: got 16 files, want at most 15"));
}

}  // namespace
}  // namespace limbic::architecture

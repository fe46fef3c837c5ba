#include "data/json_lines.h"

#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <fstream>

#include "tests/support/temp_folder.h"
#include "trainer/base/error.h"

namespace limbic::data {
namespace {

using test::message_of;
using test::TempFolder;

std::string gzip(const std::string& path, const std::string& content) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
  gzclose(file);
  return path;
}

std::string zstd(const std::string& content) {
  std::string out(ZSTD_compressBound(content.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), content.data(), content.size(), 3));
  return out;
}

std::string read_bytes(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// "NUMBER:TEXT" of every line, errors in between.
std::vector<std::string> read_all(const std::string& path) {
  std::vector<std::string> out;
  JsonLines lines(path);
  while (true) {
    try {
      const auto line = lines.next();
      if (!line) return out;
      out.push_back(std::to_string(line->number) + ":" + line->text);
    } catch (const DataError& error) {
      out.push_back(error.what());
    }
  }
}

const std::vector<std::string> kTwo{"1:{\"a\":1}", "2:{\"a\":2}"};

TEST(JsonLines, ReadsPlainGzipAndZstdAlike) {
  const TempFolder folder;
  const std::string text = "{\"a\":1}\n{\"a\":2}\n";
  EXPECT_EQ(read_all(folder.write("a.jsonl", text)), kTwo);
  EXPECT_EQ(read_all(gzip(folder.file("a.jsonl.gz"), text)), kTwo);
  EXPECT_EQ(read_all(folder.write("a.jsonl.zst", zstd(text))), kTwo);
}

TEST(JsonLines, ReadsSeveralCompressedMembersOfOneFile) {
  const TempFolder folder;
  const std::string first = read_bytes(gzip(folder.file("x.gz"), "{\"a\":1}\n"));
  const std::string second = read_bytes(gzip(folder.file("y.gz"), "{\"a\":2}\n"));
  EXPECT_EQ(read_all(folder.write("both.gz", first + second)), kTwo);
  EXPECT_EQ(read_all(folder.write("both.zst", zstd("{\"a\":1}\n") + zstd("{\"a\":2}\n"))), kTwo);
}

TEST(JsonLines, AcceptsCrlfByteOrderMarkEmptyLinesAndNoFinalLineEnd) {
  const TempFolder folder;
  const std::string path = folder.write("a.jsonl", "\xEF\xBB\xBF{\"a\":1}\r\n\r\n  \n{\"a\":2}");
  EXPECT_EQ(read_all(path), (std::vector<std::string>{"1:{\"a\":1}", "4:{\"a\":2}"}));
}

TEST(JsonLines, FindsNothingInAnEmptyFile) {
  const TempFolder folder;
  EXPECT_TRUE(read_all(folder.write("a.jsonl", "")).empty());
  EXPECT_TRUE(read_all(folder.write("b.jsonl", "\n\n")).empty());
}

TEST(JsonLines, ReadsLinesLongerThanItsBuffer) {
  const TempFolder folder;
  const std::string row = "{\"a\":\"" + std::string(3'000'000, 'x') + "\"}";
  const std::vector<std::string> wanted{"1:" + row, "2:{\"a\":2}"};
  EXPECT_EQ(read_all(folder.write("a.jsonl", row + "\n{\"a\":2}\n")), wanted);
  EXPECT_EQ(read_all(folder.write("a.zst", zstd(row + "\n{\"a\":2}\n"))), wanted);
}

TEST(JsonLines, NamesTheLineOfInvalidJsonAndGoesOn) {
  const TempFolder folder;
  const std::string path = folder.write("a.jsonl", "{\"a\":1}\n{\"a\":}\n[1]\n7\n{\"a\":2}\n");
  const auto lines = read_all(path);
  ASSERT_EQ(lines.size(), 5u);
  EXPECT_TRUE(lines[1].starts_with(path + ":2: got invalid JSON (column 6: ")) << lines[1];
  EXPECT_TRUE(lines[1].ends_with("), want one object per line")) << lines[1];
  EXPECT_EQ(lines[2], path + ":3: got a list, want one object per line");
  EXPECT_EQ(lines[3], path + ":4: got a single value, want one object per line");
  EXPECT_EQ(lines[4], "5:{\"a\":2}");
}

TEST(JsonLines, NamesInvalidUtf8) {
  const TempFolder folder;
  const std::string path = folder.write("a.jsonl", "{\"a\":1}\n{\"a\":\"it\x92s\"}\n");
  EXPECT_EQ(read_all(path)[1], path +
                                   ":2: got invalid UTF-8 (byte 0x92 at byte 9 of the line), want "
                                   "UTF-8");
}

TEST(JsonLines, RefusesTwoObjectsInALineAndBottomlessNesting) {
  const TempFolder folder;
  const std::string deep = "{\"a\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
  const std::string path = folder.write("a.jsonl", "{} {}\n" + deep + "\n");
  const auto lines = read_all(path);
  EXPECT_TRUE(lines[0].starts_with(path + ":1: got invalid JSON")) << lines[0];
  EXPECT_EQ(lines[1],
            path + ":2: got invalid JSON (nesting deeper than 512), want one object per line");
}

TEST(JsonLines, NamesAMissingFileAndAFolder) {
  const TempFolder folder;
  for (const std::string& path : {folder.file("none.jsonl"), folder.file("none.gz"),
                                  folder.file("none.zst"), folder.file("")}) {
    EXPECT_EQ(message_of<DataError>([&] { JsonLines{path}; }),
              path + ": got no readable file, want JSON lines; check the path");
  }
}

TEST(JsonLines, NamesDamagedCompression) {
  const TempFolder folder;
  std::string content;
  for (int i = 0; i < 2000; ++i) content += "{\"a\":" + std::to_string(i * 7919) + "}\n";
  const std::string whole = read_bytes(gzip(folder.file("x.gz"), content));
  const std::string cut = folder.write("cut.gz", whole.substr(0, whole.size() / 2));
  EXPECT_TRUE(read_all(cut).back().ends_with(
      ": got damaged gzip data (it ends early), want a whole .gz file"));
  std::string flipped = whole;
  flipped[whole.size() - 5] ^= 1;  // inside the checksum
  EXPECT_NE(read_all(folder.write("bad.gz", flipped)).back().find("damaged gzip"),
            std::string::npos);
  EXPECT_EQ(read_all(folder.write("plain.gz", "{\"a\":1}\n")).back(),
            folder.file("plain.gz") +
                ":1: got damaged gzip data (no gzip header), want a whole .gz file");

  const std::string packed = zstd(content);
  const std::string cut_zst = folder.write("cut.zst", packed.substr(0, packed.size() - 3));
  EXPECT_TRUE(read_all(cut_zst).back().ends_with(
      ": got damaged zstd data (it ends early), want a whole .zst file"));
  EXPECT_NE(read_all(folder.write("plain.zst", "{\"a\":1}\n")).back().find("damaged zstd"),
            std::string::npos);
}

}  // namespace
}  // namespace limbic::data

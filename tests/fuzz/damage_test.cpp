// What disks and downloads do to files: bits that are another, ends that are missing, files that
// are not there.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <filesystem>

#include "tests/fuzz/mutants.h"

namespace limbic::test {
namespace {

namespace fs = std::filesystem;

// How many of the folders with one bit flipped in [first, last) of a file are refused.
int refused_flips(Kind kind, const std::string& name, int count, std::size_t first = 0,
                  std::size_t last = 0) {
  Folder folder(kind);
  const std::string content = folder.read(name);
  if (last == 0) last = content.size();
  Dice dice(first + last);
  int refused = 0;
  for (int i = 0; i < count; ++i) {
    const std::size_t bit = 8 * first + dice.below(8 * (last - first));
    const std::string what = name + " with bit " + std::to_string(bit) + " flipped";
    refused += !folder.complaint(what, [&] { folder.write(name, with_flipped_bit(content, bit)); })
                    .empty();
  }
  return refused;
}

// Behind the last byte of the header of a safetensors file.
std::size_t header_end(const std::string& content) {
  std::uint64_t size = 0;
  std::memcpy(&size, content.data(), sizeof size);
  return sizeof size + size;
}

TEST(BitFlips, Config) { EXPECT_GT(refused_flips(Kind::kSingle, "model/config.json", 40), 20); }

TEST(BitFlips, Tokenizer) {
  EXPECT_GT(refused_flips(Kind::kSingle, "model/tokenizer.json", 40), 5);
}

TEST(BitFlips, TokenizerSettings) {
  EXPECT_GT(refused_flips(Kind::kSingle, "model/tokenizer_config.json", 40), 5);
}

TEST(BitFlips, SentencePieceModel) {
  EXPECT_GT(refused_flips(Kind::kSentencePiece, "model/tokenizer.model", 40), 5);
}

TEST(BitFlips, ChatTemplate) {
  EXPECT_GT(refused_flips(Kind::kSharded, "model/chat_template.jinja", 40), 5);
}

TEST(BitFlips, Index) {
  EXPECT_GT(refused_flips(Kind::kSharded, "model/model.safetensors.index.json", 40), 35);
}

TEST(BitFlips, HeaderOfWeights) {
  const std::string name = "model/model.safetensors";
  const std::size_t end = header_end(Folder(Kind::kSingle).read(name));
  EXPECT_EQ(refused_flips(Kind::kSingle, name, 12, 0, 8), 12);  // its length
  EXPECT_GT(refused_flips(Kind::kSingle, name, 40, 8, end), 35);
}

TEST(BitFlips, HeaderOfShard) {
  const std::string name = "model/model-00002-of-00002.safetensors";
  const std::size_t end = header_end(Folder(Kind::kSharded).read(name));
  EXPECT_GT(refused_flips(Kind::kSharded, name, 40, 8, end), 35);
}

TEST(BitFlips, Weights) {
  const std::string name = "model/model.safetensors";
  const std::string content = Folder(Kind::kSingle).read(name);
  refused_flips(Kind::kSingle, name, 40, header_end(content), content.size());
}

TEST(BitFlips, AdapterConfig) {
  EXPECT_GT(refused_flips(Kind::kSingle, "adapter/adapter_config.json", 40), 5);
}

TEST(BitFlips, AdapterWeights) {
  const std::string name = "adapter/adapter_model.safetensors";
  const std::size_t end = header_end(Folder(Kind::kSingle).read(name));
  EXPECT_GT(refused_flips(Kind::kSingle, name, 40, 0, end), 35);
}

// The exponent of one number full of ones: the tensor is named.
TEST(BitFlips, NumbersThatAreNoneNameTheirTensor) {
  for (const auto& [name, tensor] :
       {std::pair("model/model.safetensors", "model.layers.1.mlp.up_proj.weight"),
        std::pair("adapter/adapter_model.safetensors",
                  "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight")}) {
    Folder folder(Kind::kSingle);
    WeightFile file(folder.read(name));
    const std::size_t begin = file.header[tensor]["data_offsets"][0];
    for (const char last : {'\x7F', '\xFF'}) {
      file.data[begin + 6] = '\x80';
      file.data[begin + 7] = last;
      folder.expect_refused(name, file.content(), {folder.path(""), tensor, "not finite"});
    }
  }
}

// Numbers that are finite one by one and not together.
TEST(BitFlips, SumsThatAreNoNumbersAreRefused) {
  Folder folder(Kind::kSingle);
  WeightFile file(folder.read("model/model.safetensors"));
  for (const char* tensor : {"model.layers.0.mlp.down_proj.weight", "lm_head.weight"}) {
    const std::size_t begin = file.header[tensor]["data_offsets"][0];
    const std::size_t end = file.header[tensor]["data_offsets"][1];
    for (std::size_t i = begin; i < end; i += 4) {
      file.data.replace(i, 4, i % 8 == 0 ? std::string("\xFF\xFF\x7F\x7F") : "\xFF\xFF\x7F\xFF");
    }
  }
  folder.expect_refused("model/model.safetensors", file.content(), {"rows.jsonl", "not finite"});
}

class Truncation : public testing::TestWithParam<Kind> {};

// A text may be sound without its end; JSON, weights and their index never are.
TEST_P(Truncation, EveryFileAtEveryPlace) {
  Folder folder(GetParam());
  Dice dice(7);
  for (const std::string& name : folder.names()) {
    const std::string content = folder.read(name);
    const bool is_text = name.ends_with(".jinja") || name.ends_with("tokenizer.model");
    for (int i = 0; i < 8; ++i) {
      const std::size_t size = i == 0 ? 0 : dice.below(content.size());
      const std::string what = name + " cut at " + std::to_string(size);
      const std::string said =
          folder.complaint(what, [&] { folder.write(name, content.substr(0, size)); });
      if (is_text) continue;
      EXPECT_NE(said.find(folder.path(name)), std::string::npos) << what << ": " << said;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Truncation,
                         testing::Values(Kind::kSingle, Kind::kSharded, Kind::kSentencePiece),
                         [](const auto& kind) { return std::to_string(kind.index); });

class Places : public testing::TestWithParam<Kind> {
 protected:
  // Every file is replaced by what `make` puts in its place.
  void replace_each(const std::string& by, const std::function<void(const std::string&)>& make,
                    bool may_be_left_out) {
    Folder folder(GetParam());
    for (const std::string& name : folder.names()) {
      const std::string said = folder.complaint(by + " for " + name, [&] {
        fs::remove(folder.path(name));
        make(folder.path(name));
      });
      const bool optional = may_be_left_out &&
                            (name.find("_config") != std::string::npos || name.ends_with(".jinja"));
      if (!optional || name.starts_with("adapter")) {
        EXPECT_NE(said, "") << by << " for " << name;
      }
    }
  }
};

TEST_P(Places, Nothing) {
  replace_each(
      "nothing", [](const std::string&) {}, true);
}

TEST_P(Places, Folders) {
  replace_each(
      "a folder", [](const std::string& path) { fs::create_directory(path); }, false);
}

TEST_P(Places, LinksInACircle) {
  replace_each(
      "a link to itself", [](const std::string& path) { fs::create_symlink(path, path); }, false);
}

TEST_P(Places, LinksToNowhere) {
  replace_each(
      "a link to nowhere",
      [](const std::string& path) { fs::create_symlink("/nowhere/at/all", path); }, false);
}

// Nobody writes into it: who waits for it waits for ever.
TEST_P(Places, Pipes) {
  replace_each(
      "a pipe", [](const std::string& path) { ::mkfifo(path.c_str(), 0600); }, false);
}

TEST_P(Places, DevicesWithoutAnEnd) {
  replace_each(
      "a device", [](const std::string& path) { fs::create_symlink("/dev/zero", path); }, false);
}

TEST_P(Places, WholeFolders) {
  Folder folder(GetParam());
  for (const char* part : {"model", "adapter"}) {
    const std::string path = folder.path(part);
    for (const char* target : {"", "/nowhere/at/all", part, "/dev/null"}) {
      const std::string what = std::string(part) + " as a link to '" + target + "'";
      const std::string said = folder.complaint(what, [&] {
        fs::remove_all(path);
        if (*target != '\0') fs::create_symlink(target, path);
      });
      EXPECT_NE(said.find(path), std::string::npos) << what << ": " << said;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Places,
                         testing::Values(Kind::kSingle, Kind::kSharded, Kind::kSentencePiece),
                         [](const auto& kind) { return std::to_string(kind.index); });

TEST(Sound, FoldersOfEveryKindAreLoaded) {
  for (const Kind kind : {Kind::kSingle, Kind::kSharded, Kind::kSentencePiece}) {
    EXPECT_EQ(Folder(kind).complaint("nothing", [] {}), "");
  }
}

}  // namespace
}  // namespace limbic::test

// Weight files, indexes and adapters that say something else than they hold.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/fuzz/mutants.h"

namespace limbic::test {
namespace {

constexpr const char* kWeights = "model/model.safetensors";
constexpr const char* kIndex = "model/model.safetensors.index.json";
constexpr const char* kTensor = "model.layers.0.self_attn.k_proj.weight";  // [16, 32]

class Header : public testing::Test {
 protected:
  // The folder with another entry for one tensor is refused with all of `parts`.
  void refused(const std::string& key, const Json& value, const std::vector<std::string>& parts) {
    WeightFile file(folder_.read(kWeights));
    file.header[kTensor][key] = value;
    refused_text(file.content(), parts);
  }
  void refused_text(const std::string& content, std::vector<std::string> parts) {
    parts.push_back(folder_.path("model"));
    folder_.expect_refused(kWeights, content, parts);
  }

  Folder folder_{Kind::kSingle};
};

TEST_F(Header, Shapes) {
  refused("shape", {32, 16}, {kTensor, "got shape 32 x 16, want 16 x 32"});
  refused("shape", {512}, {kTensor, "got shape 512, want"});
  refused("shape", {1, 16, 32}, {kTensor, "got shape 1 x 16 x 32"});
  refused("shape", {16, 33}, {kTensor, "needs 2112 bytes"});
  refused("shape", Json::array(), {kTensor, "needs 4 bytes"});
  refused("shape", {0, 32}, {kTensor, "needs 0 bytes"});
  refused("shape", {-16, -32}, {kTensor, "-16"});
  refused("shape", {16, 32.0}, {kTensor, "32.0"});
  refused("shape", {16, "32"}, {kTensor, "32"});
  refused("shape", nullptr, {kTensor, "lacks"});
  refused("shape", {1LL << 62, 1LL << 62}, {kTensor, "overflows"});
  refused("shape", {0, 1LL << 62, 1LL << 62}, {kTensor, "overflows"});
  std::vector<int> ones(3000, 1);
  ones.push_back(512);
  refused("shape", ones, {kTensor, "got shape 1 x 1", "want 16 x 32"});
}

TEST_F(Header, Types) {
  for (const char* type : {"I32", "U32", "I64", "F64", "BOOL", "C64", "F8_E4M3", "F4", "", "f32"}) {
    refused("dtype", type, {kTensor});
  }
  refused("dtype", "I32", {kTensor, "got Int values"});
  refused("dtype", "U32", {kTensor, "UInt32"});
  refused("dtype", "F64", {kTensor, "needs 4096 bytes"});
  refused("dtype", "F128", {kTensor, "unknown dtype 'F128'"});
  refused("dtype", 32, {kTensor, "lacks"});
}

TEST_F(Header, Offsets) {
  const Json good = WeightFile(folder_.read(kWeights)).header[kTensor]["data_offsets"];
  const std::int64_t begin = good[0], end = good[1];
  refused("data_offsets", {end, begin}, {kTensor});
  refused("data_offsets", {begin - 4, end - 4}, {"an overlap or a gap"});
  refused("data_offsets", {begin + 4, end + 4}, {"an overlap or a gap"});
  refused("data_offsets", {0, end - begin}, {"an overlap or a gap"});
  refused("data_offsets", {-4, end - begin - 4}, {kTensor, "-4"});
  refused("data_offsets", {1ULL << 63, (1ULL << 63) + 2048}, {"an overlap or a gap"});
  refused("data_offsets", {begin, 18446744073709551615ULL}, {kTensor});
  refused("data_offsets", {1e300, 2e300}, {kTensor, "1e+300"});
  refused("data_offsets", {begin}, {kTensor, "lacks"});
  refused("data_offsets", {begin, end, end}, {kTensor, "lacks"});
  refused("data_offsets", {{"begin", begin}, {"end", end}}, {kTensor, "lacks"});
}

TEST_F(Header, Names) {
  WeightFile file(folder_.read(kWeights));
  const Json whole = file.header;
  const auto renamed = [&](const std::string& name) {
    file.header = whole;
    file.header[name] = file.header[kTensor];
    file.header.erase(kTensor);
    return file.content();
  };
  refused_text(renamed("model.layers.2.self_attn.k_proj.weight"), {"foreign", "layers.2"});
  refused_text(renamed(""), {"foreign"});
  refused_text(renamed("../../etc/passwd"), {"foreign", "passwd"});
  refused_text(renamed(std::string(1'000'000, 'x')), {"foreign"});
  refused_text(renamed("a\nb\033[31m"), {"foreign"});
  file.header = whole;
  std::string text = whole.dump();
  text.insert(text.size() - 1, R"(,"model.norm.weight":{"dtype":"F32"})");
  refused_text(file.content(text), {"model.norm.weight", "twice"});
  refused_text(file.content(whole.dump() + whole.dump()), {"model.safetensors", "JSON"});
  refused_text(file.content(whole.dump() + std::string(1, '\0')), {"zero byte"});
}

TEST_F(Header, Texts) {
  WeightFile file(folder_.read(kWeights));
  const std::string deep(200'000, '[');
  refused_text(file.content(R"({"a":)" + deep), {"nests deeper"});
  refused_text(file.content(R"({"a":)" + deep + std::string(200'000, ']') + "}"), {"nests deeper"});
  refused_text(file.content(R"({"a":)" + std::string(10'000'000, '9') + "}"), {"JSON"});
  refused_text(file.content(R"({"a":")" + std::string(10'000'000, 'x') + "\"}"), {"'a' lacks"});
  refused_text(file.content(R"({"a":NaN})"), {"JSON"});
  refused_text(file.content(""), {"JSON"});
  refused_text(file.content("null"), {"no JSON object"});
  std::string many = "{";
  for (int i = 0; i < 100'000; ++i) many += "\"" + std::to_string(i) + "\":0,";
  refused_text(file.content(many + "\"a\":0}"), {"lacks"});
}

class Index : public testing::Test {
 protected:
  void refused_place(const Json& place, const std::string& part) {
    Json index = folder_.read_json(kIndex);
    index["weight_map"][kTensor] = place;
    folder_.expect_refused(kIndex, index.dump(), {folder_.path(kIndex), kTensor, part});
  }

  Folder folder_{Kind::kSharded};
};

TEST_F(Index, HostilePlaces) {
  const char* want = "want the name of a file in the folder";
  for (const char* place : {"../model/model-00001-of-00002.safetensors", "/etc/passwd", "", ".",
                            "..", "./x", "a/b", "..\\x", "C:\\x", "//", "model/../../x"}) {
    refused_place(place, want);
  }
  refused_place(std::string("model-00001-of-00002.safetensors\0.png", 37), want);
  refused_place(folder_.path("model/model-00001-of-00002.safetensors"), want);
  for (const Json& place :
       {Json(nullptr), Json(7), Json(true), Json::array({"x"}), Json{{"a", "b"}}}) {
    refused_place(place, want);
  }
  refused_place("model-00002-of-00002.safetensors", "no such tensor");
}

TEST_F(Index, FilesThatAreNoShards) {
  for (const std::string& place : {std::string("absent.safetensors"), std::string(5000, 'x'),
                                   std::string("a\nb"), std::string("config.json")}) {
    Json index = folder_.read_json(kIndex);
    index["weight_map"][kTensor] = place;
    folder_.expect_refused(kIndex, index.dump(), {folder_.path("model/"), "safetensors file"});
  }
}

TEST_F(Index, Texts) {
  Json index = folder_.read_json(kIndex);
  folder_.expect_refused(kIndex, "{}", {"index.json", "weight_map"});
  folder_.expect_refused(kIndex, R"({"weight_map": {}})", {folder_.path("model"), "got no tensor"});
  folder_.expect_refused(kIndex, R"({"weight_map": {"x": )" + std::string(100'000, '['),
                         {"index.json", "nests deeper"});
  folder_.expect_refused(kIndex, R"({"weight_map": {"a": "b", "a": "b"}})", {"'a' twice"});
  index["weight_map"].erase(kTensor);
  folder_.expect_refused(kIndex, index.dump(), {folder_.path("model"), kTensor, "got no tensor"});
  std::string many = R"({"weight_map":{)";
  for (int i = 0; i < 100'000; ++i) many += "\"" + std::to_string(i) + "\":\"x\",";
  folder_.expect_refused(kIndex, many + R"("a":"x"}})", {"safetensors file"});
}

class AdapterFiles : public testing::Test {
 protected:
  static constexpr const char* kFile = "adapter/adapter_model.safetensors";
  static constexpr const char* kName =
      "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";  // [32, 4]

  void refused(const std::function<void(Json&)>& change, const std::vector<std::string>& parts) {
    WeightFile file(folder_.read(kFile));
    change(file.header);
    folder_.expect_refused(kFile, file.content(), parts);
  }

  Folder folder_{Kind::kSingle};
};

TEST_F(AdapterFiles, ShapesTypesAndNames) {
  refused(
      [](Json& header) {
        header[kName]["shape"] = {4, 32};
      },
      {"adapter", kName, "got shape 4 x 32, want 32 x 4"});
  refused([](Json& header) { header[kName]["shape"] = {128}; }, {kName, "got shape 128"});
  refused([](Json& header) { header[kName]["shape"] = {0, 4}; }, {kName, "needs 0 bytes"});
  for (const char* type : {"I32", "U32"}) {
    refused([&](Json& header) { header[kName]["dtype"] = type; }, {kName, "want floating point"});
  }
  const auto renamed = [](Json& header, const std::string& name) {
    header[name] = header[kName];
    header.erase(kName);
  };
  for (const char* name : {"model.layers.0.self_attn.q_proj.lora_B.weight", "", "lora_B",
                           "base_model.model.model.layers.9.self_attn.q_proj.lora_B.weight"}) {
    refused([&](Json& header) { renamed(header, name); }, {kName, "got no tensor"});
  }
}

// Tensors without elements fit their file; nothing may ask for their largest.
TEST_F(AdapterFiles, TensorsWithoutElements) {
  WeightFile file(folder_.read(kFile));
  std::uint64_t at = 0;
  for (auto& [name, entry] : file.header.items()) {
    entry["shape"] = {0, 4};
    entry["data_offsets"] = {at, at};
  }
  file.data.clear();
  folder_.expect_refused(kFile, file.content(), {folder_.path(kFile), "got shape 0 x 4"});
}

}  // namespace
}  // namespace limbic::test

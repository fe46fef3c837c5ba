#include "trainer/tensor/safetensors.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "tests/support/temp_folder.h"
#include "trainer/base/error.h"
#include "trainer/base/fields.h"
#include "trainer/base/file.h"

namespace limbic {
namespace {

using test::message_of;
using test::TempFolder;

// A file from its header text and the number of data bytes that follow.
std::string bytes_of(const std::string& header, std::size_t data) {
  const std::uint64_t length = header.size();
  std::string out(reinterpret_cast<const char*>(&length), 8);
  return out + header + std::string(data, '\0');
}

std::string refusal(const std::string& content) {
  const TempFolder folder;
  const std::string path = folder.write("x.safetensors", content);
  const std::string message = message_of<DataError>([&] { SafetensorsFile::open(path); });
  if (message != "no error") {
    EXPECT_EQ(message.find(path), 0u) << message;
  }
  return message;
}

void expect_refused(const std::string& content, const std::string& part) {
  const std::string message = refusal(content);
  EXPECT_NE(message.find(part), std::string::npos) << "want '" << part << "' in: " << message;
}

std::string entry(const std::string& type, const std::string& shape, int begin, int end) {
  return R"({"dtype":")" + type + R"(","shape":)" + shape + R"(,"data_offsets":[)" +
         std::to_string(begin) + "," + std::to_string(end) + "]}";
}

TEST(Safetensors, RoundTripKeepsEveryTypeShapeAndBit) {
  const TempFolder folder;
  const std::string path = folder.file("sub/x.safetensors");
  NamedTensors tensors;
  for (const auto type :
       {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kLong, at::kInt, at::kShort,
        at::kChar, at::kByte, at::kBool, at::kFloat8_e4m3fn, at::kComplexFloat}) {
    tensors.push_back({c10::toString(type), at::arange(-3, 3).view({3, 2}).to(type)});
  }
  tensors.push_back({"scalar", at::scalar_tensor(2.5)});
  tensors.push_back({"empty", at::empty({0, 7})});
  tensors.push_back({"view", at::arange(12, at::kFloat).view({3, 4}).t()});
  tensors.push_back({"na\"me/\u00e9", at::ones({1})});
  write_safetensors(path, tensors, {{"format", "pt"}, {"step", "12"}});
  const SafetensorsFile file = SafetensorsFile::open(path);
  EXPECT_EQ(file.names().size(), tensors.size());
  for (const NamedTensor& item : tensors) {
    ASSERT_TRUE(file.contains(item.name)) << item.name;
    const at::Tensor back = file.tensor(item.name);
    EXPECT_EQ(back.scalar_type(), item.tensor.scalar_type()) << item.name;
    EXPECT_EQ(back.sizes(), item.tensor.sizes()) << item.name;
    const at::Tensor wanted = item.tensor.contiguous();
    EXPECT_EQ(std::string(static_cast<const char*>(back.data_ptr()), back.nbytes()),
              std::string(static_cast<const char*>(wanted.data_ptr()), wanted.nbytes()))
        << item.name;
  }
  EXPECT_EQ(file.metadata().at("step"), "12");
  EXPECT_FALSE(file.contains("absent"));
  EXPECT_THROW(file.tensor("absent"), DataError);
}

TEST(Safetensors, SameTensorsGiveTheSameBytesInAnyOrder) {
  const TempFolder folder;
  const NamedTensors tensors = {{"b", at::ones({3})},
                                {"a", at::zeros({2}, at::kBFloat16)},
                                {"c", at::ones({1}, at::kDouble)}};
  write_safetensors(folder.file("1"), tensors);
  write_safetensors(folder.file("2"), {tensors[2], tensors[1], tensors[0]});
  EXPECT_EQ(read_file(folder.file("1")), read_file(folder.file("2")));
  // Wider types first, so that all data is aligned.
  EXPECT_EQ(SafetensorsFile::open(folder.file("1")).names(),
            (std::vector<std::string>{"c", "b", "a"}));
}

TEST(Safetensors, TensorOutlivesItsFile) {
  const TempFolder folder;
  write_safetensors(folder.file("x"), {{"a", at::arange(5)}});
  const at::Tensor tensor = SafetensorsFile::open(folder.file("x")).tensor("a");
  EXPECT_TRUE(at::equal(tensor, at::arange(5)));
}

TEST(Safetensors, HeaderOfOddLengthIsReadByCopy) {
  const TempFolder folder;
  std::string header = R"({"a":)" + entry("F32", "[2]", 0, 8) + "}";
  if (header.size() % 4 == 0) header += ' ';
  std::string content = bytes_of(header, 0);
  const float values[] = {1.5f, -2.0f};
  content.append(reinterpret_cast<const char*>(values), 8);
  const SafetensorsFile file = SafetensorsFile::open(folder.write("x", content));
  EXPECT_TRUE(at::equal(file.tensor("a"), at::tensor({1.5f, -2.0f})));
}

TEST(Safetensors, TwoTensorsOfOneNameAreABugWhenWriting) {
  const TempFolder folder;
  EXPECT_THROW(write_safetensors(folder.file("x"), {{"a", at::ones({1})}, {"a", at::ones({2})}}),
               std::logic_error);
  EXPECT_FALSE(std::filesystem::exists(folder.file("x")));
}

TEST(Safetensors, MissingFileOrFolderIsNamed) {
  const TempFolder folder;
  EXPECT_THROW(SafetensorsFile::open(folder.file("none")), DataError);
  EXPECT_THROW(SafetensorsFile::open(folder.file("")), DataError);
}

TEST(Safetensors, TruncatedFilesAreRefusedAtEveryLength) {
  const std::string whole = bytes_of(R"({"a":)" + entry("F32", "[2]", 0, 8) + "}", 8);
  EXPECT_EQ(refusal(whole), "no error");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(refusal(whole.substr(0, size)), "no error") << size;
  }
  expect_refused(whole.substr(0, whole.size() - 1), "truncated or padded");
  expect_refused(whole + '\0', "truncated or padded");
}

TEST(Safetensors, OverlapsAndGapsAreRefused) {
  const auto two = [](int begin, int end) {
    return bytes_of(
        R"({"a":)" + entry("F32", "[2]", 0, 8) + R"(,"b":)" + entry("F32", "[2]", begin, end) + "}",
        16);
  };
  EXPECT_EQ(refusal(two(8, 16)), "no error");
  expect_refused(two(4, 12), "an overlap or a gap");
  expect_refused(two(0, 8), "an overlap or a gap");
  expect_refused(two(12, 20), "an overlap or a gap");
  expect_refused(bytes_of(R"({"a":)" + entry("F32", "[1]", 4, 8) + "}", 8), "overlap or a gap");
}

TEST(Safetensors, RangeMustFitTheShape) {
  expect_refused(bytes_of(R"({"a":)" + entry("F32", "[3]", 0, 8) + "}", 8), "needs 12 bytes");
  expect_refused(bytes_of(R"({"a":)" + entry("F32", "[2]", 8, 0) + "}", 8), "'a'");
  expect_refused(bytes_of(R"({"a":)" + entry("F32", "[-1]", 0, 8) + "}", 8), "-1");
  expect_refused(bytes_of(R"({"a":)" + entry("F32", "[1.5]", 0, 8) + "}", 8), "1.5");
  expect_refused(bytes_of(R"({"a":)" + entry("F32", "[4294967296,4294967296]", 0, 0) + "}", 0),
                 "overflows");
  expect_refused(bytes_of(R"({"a":)" + entry("F32", "[0,4294967296,4294967296]", 0, 0) + "}", 0),
                 "overflows");
}

TEST(Safetensors, BrokenHeadersAreRefused) {
  expect_refused(bytes_of("", 0), "no JSON");
  expect_refused(bytes_of("{", 0), "no JSON");
  expect_refused(bytes_of("[]", 0), "no JSON object");
  expect_refused(bytes_of("{} x", 0), "no JSON");
  expect_refused(bytes_of("{\"\xff\":1}", 0), "no JSON");
  expect_refused(bytes_of(R"({"a":7})", 0), "'a' lacks");
  expect_refused(bytes_of(R"({"a":{"dtype":"F32","shape":[]}})", 4), "'a' lacks");
  expect_refused(bytes_of(R"({"a":{"dtype":3,"shape":[],"data_offsets":[0,4]}})", 4), "'a' lacks");
  expect_refused(bytes_of(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4,8]}})", 4),
                 "'a' lacks");
  expect_refused(bytes_of(R"({"__metadata__":[]})", 0), "__metadata__");
  expect_refused(bytes_of(R"({"__metadata__":{"a":1}})", 0), "__metadata__");
  std::string huge = bytes_of("{}", 0);
  huge[7] = '\x7f';
  expect_refused(huge, "a header of");
  EXPECT_EQ(refusal(bytes_of("{}", 0)), "no error");
}

// Writers that align the data to pages pad in front, behind and between.
TEST(Safetensors, WhiteSpaceAroundTheHeaderIsRead) {
  const std::string header = R"({"a":)" + entry("F32", "[1]", 0, 4) + "}";
  for (const char* space : {" ", "\n", "\r\n\t ", "                                        "}) {
    EXPECT_EQ(refusal(bytes_of(space + header, 4)), "no error");
    EXPECT_EQ(refusal(bytes_of(header + space, 4)), "no error");
  }
  expect_refused(bytes_of(header + std::string(1, '\0'), 4), "a zero byte");
  expect_refused(bytes_of(header + std::string(1, '\0') + header, 4), "a zero byte");
}

// What a reader must bear that believes nothing: numbers beyond 64 bits, offsets far behind the
// end, a name that is a path, thousands of names for the same bytes, nesting without end.
TEST(Safetensors, HostileHeadersEndInAMessage) {
  expect_refused(bytes_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,)"
                          "18446744073709551616]}}",
                          4),
                 "a number of at least 0");
  expect_refused(bytes_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,)"
                          "18446744073709551616]}}",
                          4),
                 "a number of at least 0");
  expect_refused(bytes_of(R"({"a":{"dtype":"U8","shape":[4611686018427387904],"data_offsets":[0,)"
                          "4611686018427387904]}}",
                          4),
                 "truncated");
  expect_refused(bytes_of(R"({"a":{"dtype":"U8","shape":[null],"data_offsets":[0,4]}})", 4),
                 "null");
  EXPECT_EQ(refusal(bytes_of(R"({"../../a":)" + entry("F32", "[1]", 0, 4) + "}", 4)), "no error");
  std::string many = "{";
  for (int i = 0; i < 5000; ++i) {
    many += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":" + entry("U8", "[4096]", 0, 4096);
  }
  expect_refused(bytes_of(many + "}", 4096), "an overlap or a gap");
  const std::string deep = std::string(100'000, '[');
  expect_refused(bytes_of(R"({"a":)" + deep, 0), "nests deeper than 100");
  expect_refused(bytes_of(R"({"a":{"dtype":"U8","data_offsets":[0,4],"shape":[)" + deep +
                              std::string(100'000, ']') + "]}}",
                          4),
                 "nests deeper than 100");
}

TEST(Safetensors, HeaderLengthsAreBelievedUpToAHundredMillion) {
  const TempFolder folder;
  for (const std::uint64_t length : {std::uint64_t{100'000'001}, std::uint64_t{1} << 32,
                                     ~std::uint64_t{0}, ~std::uint64_t{0} - 7}) {
    std::string content(reinterpret_cast<const char*>(&length), 8);
    expect_refused(content + std::string(64, ' '), "a header of");
  }
}

// The bound itself, in files that are large enough for what they announce.
TEST(Safetensors, LongestHeader) {
  const TempFolder folder;
  const auto message = [&](std::uint64_t length) {
    const std::string path =
        folder.write("x", std::string(reinterpret_cast<const char*>(&length), 8));
    std::filesystem::resize_file(path, 8 + length);  // zeros that take no room
    return message_of<DataError>([&] { SafetensorsFile::open(path); });
  };
  EXPECT_NE(message(100'000'000).find("a zero byte"), std::string::npos);
  EXPECT_NE(message(100'000'001).find("a header of 100000001 bytes"), std::string::npos);
}

TEST(Safetensors, HeaderIsWrittenStrictly) {
  const TempFolder folder;
  for (const char* name : {"a", "ab", "abc", "abcdefgh"}) {
    write_safetensors(folder.file("x"), {{name, at::ones({3})}});
    const std::string content = read_file(folder.file("x"));
    std::uint64_t length = 0;
    std::memcpy(&length, content.data(), 8);
    EXPECT_EQ(length % 8, 0u);
    EXPECT_EQ(content[8], '{');
    EXPECT_EQ(content.size(), 8 + length + 12);
    EXPECT_EQ(Json::parse(content.substr(8, length))["__metadata__"]["format"], "pt");
  }
}

// That is for those who know what the numbers are.
TEST(Safetensors, ValuesAreNotLookedAt) {
  const TempFolder folder;
  const at::Tensor values = at::tensor({INFINITY, -INFINITY, NAN, 0.0F});
  write_safetensors(folder.file("x"), {{"a", values}});
  EXPECT_TRUE(at::allclose(SafetensorsFile::open(folder.file("x")).tensor("a"), values, 0, 0,
                           /*equal_nan=*/true));
}

TEST(Safetensors, TensorsWithoutElementsStandAnywhere) {
  const std::string empty = entry("F32", "[0,3]", 4, 4);
  const SafetensorsFile file = SafetensorsFile::open(TempFolder().write(
      "x", bytes_of(R"({"e":)" + empty + R"(,"a":)" + entry("F32", "[]", 0, 4) + R"(,"b":)" +
                        entry("F32", "[1]", 4, 8) + R"(,"c":)" + entry("F32", "[0]", 8, 8) + "}",
                    8)));
  EXPECT_EQ(file.names(), (std::vector<std::string>{"a", "e", "b", "c"}));
  EXPECT_EQ(file.tensor("e").sizes(), (std::vector<std::int64_t>{0, 3}));
  EXPECT_EQ(file.tensor("a").dim(), 0);
  expect_refused(bytes_of(R"({"a":)" + entry("F32", "[0]", 4, 4) + "}", 0), "overlap or a gap");
}

TEST(Safetensors, PipesAreNotWaitedFor) {
  const TempFolder folder;
  ASSERT_EQ(::mkfifo(folder.file("x").c_str(), 0600), 0);
  EXPECT_THROW(SafetensorsFile::open(folder.file("x")), DataError);
}

// Replacing a file leaves what was read from the old one alone: it is renamed into place.
TEST(Safetensors, ViewsSurviveTheReplacementOfTheirFile) {
  const TempFolder folder;
  const std::string path = folder.file("x.safetensors");
  write_safetensors(path, {{"a", at::arange(5000, at::kFloat)}});
  const at::Tensor view = SafetensorsFile::open(path).tensor("a");
  write_safetensors(path, {{"a", at::zeros({2})}});
  EXPECT_TRUE(at::equal(view, at::arange(5000, at::kFloat)));
  EXPECT_EQ(SafetensorsFile::open(path).tensor("a").numel(), 2);
}

TEST(Safetensors, UnknownTypeIsNamed) {
  for (const char* type : {"F6_E2M3", "F6_E3M2", "F8_E8M0", "F8_E4M3FNUZ", "I4"}) {
    expect_refused(bytes_of(R"({"a":)" + entry(type, "[8]", 0, 8) + "}", 8), type);
  }
  expect_refused(bytes_of(R"({"a":)" + entry("F4", "[2]", 0, 1) + "}", 1), "F4");
  expect_refused(bytes_of(R"({"a":)" + entry("f32", "[2]", 0, 8) + "}", 8), "f32");
}

TEST(Safetensors, NamesAreUnique) {
  expect_refused(
      bytes_of(
          R"({"a":)" + entry("F32", "[1]", 0, 4) + R"(,"a":)" + entry("F32", "[1]", 4, 8) + "}", 8),
      "'a' twice");
  expect_refused(
      bytes_of(R"({"a":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4),
      "'dtype' twice");
  expect_refused(bytes_of(R"({"__metadata__":{"a":"1","a":"2"}})", 0), "'a' twice");
}

// Two shards and an index that `weight_map` describes.
std::string folder_refusal(const std::string& weight_map) {
  const TempFolder folder;
  write_safetensors(folder.file("one.safetensors"), {{"a", at::ones({2})}});
  write_safetensors(folder.file("two.safetensors"), {{"b", at::zeros({3})}});
  folder.write("model.safetensors.index.json", weight_map);
  return message_of<DataError>([&] {
    const SafetensorsFolder both = SafetensorsFolder::open(folder.file(""));
    EXPECT_TRUE(at::equal(both.tensor("a"), at::ones({2})));
    EXPECT_TRUE(at::equal(both.tensor("b"), at::zeros({3})));
    EXPECT_EQ(both.names().size(), 2u);
    EXPECT_FALSE(both.contains("c"));
  });
}

TEST(SafetensorsFolder, ReadsShardsThroughTheIndex) {
  EXPECT_EQ(folder_refusal(R"({"metadata":{"total_size":20},
                               "weight_map":{"a":"one.safetensors","b":"two.safetensors"}})"),
            "no error");
}

TEST(SafetensorsFolder, IndexMustNotLeaveTheFolder) {
  for (const char* place :
       {"../one.safetensors", "/etc/hostname", "..", ".", "", "sub/x", "a\\b"}) {
    const std::string text = Json{{"weight_map", {{"a", place}}}}.dump();
    const std::string message = folder_refusal(text);
    EXPECT_NE(message.find("want the name of a file in the folder"), std::string::npos)
        << place << ": " << message;
  }
  EXPECT_NE(folder_refusal(R"({"weight_map":{"a":"one.safetensors\u0000.x"}})")
                .find("want the name of a file in the folder"),
            std::string::npos);
  EXPECT_NE(folder_refusal(R"({"weight_map":{"a":5}})").find("weight_map.a: got 5"),
            std::string::npos);
}

TEST(SafetensorsFolder, BrokenIndexIsRefused) {
  const auto refused = [](const std::string& text, const std::string& part) {
    const std::string message = folder_refusal(text);
    EXPECT_NE(message.find(part), std::string::npos) << text << ": " << message;
    EXPECT_NE(message.find("model.safetensors.index.json"), std::string::npos) << message;
    EXPECT_EQ(message.find("broken safetensors file"), std::string::npos) << message;
  };
  refused("{", "JSON");
  refused("[]", "JSON");
  refused("{}", "no weight_map");
  refused(R"({"weight_map":[]})", "no weight_map");
  refused(R"({"weight_map":{"b":"one.safetensors"}})", "no such tensor");
  refused(R"({"weight_map":{"a":"one.safetensors","a":"two.safetensors"}})", "'a' twice");
  EXPECT_NE(folder_refusal(R"({"weight_map":{"a":"absent.safetensors"}})").find("absent"),
            std::string::npos);
}

TEST(SafetensorsFolder, FolderWithoutWeightsIsRefused) {
  const TempFolder folder;
  const std::string message =
      message_of<DataError>([&] { SafetensorsFolder::open(folder.file("")); });
  EXPECT_NE(message.find("got no weights"), std::string::npos) << message;
}

}  // namespace
}  // namespace limbic

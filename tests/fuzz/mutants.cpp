#include "tests/fuzz/mutants.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>

#include "launch/commands/commands.h"
#include "launch/exit_code.h"
#include "tests/support/model_folder.h"
#include "trainer/base/log.h"

namespace limbic::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPieces =
    LIMBIC_SOURCE_DIR "/tests/parity/text/golden/sentencepiece_llama/tokenizer.model";
constexpr std::int64_t kPieceCount = 756;
constexpr std::int64_t kRank = 4, kHidden = 32, kInner = 64;
constexpr std::size_t kRows = 3;
constexpr double kLongestSeconds = 30.0;
constexpr std::int64_t kMostKilobytes = 1 << 20;
constexpr std::size_t kLongestLine = 2100;

std::string read_whole(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

using Add = void (*)(launch::Command);

// A command of the binary with its arguments; what it prints is left out.
launch::Failure run(Add add, const std::vector<std::string>& arguments) {
  launch::CommandLine line("limbic", "");
  add(line.root());
  std::vector<const char*> words = {"limbic"};
  for (const std::string& argument : arguments) words.push_back(argument.c_str());
  if (int code = 0; !line.parse(static_cast<int>(words.size()), words.data(), code)) {
    throw std::logic_error("the test's command line is not understood");
  }
  std::ostringstream printed;
  std::streambuf* const out = std::cout.rdbuf(printed.rdbuf());
  launch::Failure failure;
  try {
    failure = {line.chosen()(), ""};
  } catch (...) {
    failure = launch::failure_of(std::current_exception());
  }
  std::cout.rdbuf(out);
  return failure;
}

std::int64_t peak_kilobytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

bool is_finite_list(const Json& values, std::size_t size) {
  return values.is_array() && values.size() == size &&
         std::ranges::all_of(values, [](const Json& value) {
           return value.is_number() && std::isfinite(value.get<double>());
         });
}

// Every row has as many finite log-probabilities as it should have.
bool has_logprobs(const fs::path& path, std::size_t rows) {
  std::istringstream in(read_whole(path));
  std::size_t good = 0;
  for (std::string line; std::getline(in, line);) {
    const Json row = Json::parse(line);
    good += is_finite_list(row.at("logprobs"), row.at("ids").size() - 1);
  }
  return good == rows;
}

bool has_completions(const fs::path& path, std::size_t rows) {
  std::istringstream in(read_whole(path));
  std::size_t good = 0;
  for (std::string line; std::getline(in, line);) {
    const Json completion = Json::parse(line).at("completions").at(0);
    good += is_finite_list(completion.at("logprobs"), completion.at("ids").size());
  }
  return good == rows;
}

}  // namespace

Folder::Folder(Kind kind) {
  spdlog::set_level(spdlog::level::err);
  write_tiny_model(path("model"));
  write("model/generation_config.json", R"({"eos_token_id": [260, 261], "temperature": 0.6})");
  if (kind == Kind::kSharded) write_shards();
  if (kind == Kind::kSentencePiece) write_sentencepiece();
  write_adapter();
  for (const std::string& name : names()) sound_.emplace_back(name, read(name));
  const Json asked = {{"role", "user"}, {"content", "which colour, green?"}};
  const Json replied = {{"role", "assistant"}, {"content", "red, or blue"}};
  write("rows.jsonl", Json{{"ids", {5, 9, 200, 7, 31}}}.dump() + "\n" +
                          Json{{"messages", Json::array({asked})}}.dump() + "\n" +
                          Json{{"messages", Json::array({asked, replied})}}.dump() + "\n");
}

void Folder::write(const std::string& name, const std::string& content) const {
  fs::create_directories(fs::path(path(name)).parent_path());
  std::ofstream(path(name), std::ios::binary) << content;
}

std::string Folder::read(const std::string& name) const { return read_whole(path(name)); }

std::vector<std::string> Folder::names() const {
  std::vector<std::string> names;
  for (const char* part : {"model", "adapter"}) {
    for (const auto& entry : fs::directory_iterator(path(part))) {
      names.push_back(part + ("/" + entry.path().filename().string()));
    }
  }
  std::ranges::sort(names);
  return names;
}

void Folder::write_shards() const {
  std::vector<FileTensor> shards[2];
  Json map = Json::object();
  for (FileTensor& tensor : tiny_weights()) {
    const std::size_t shard = tensor.name.find("layers.1") == std::string::npos ? 0 : 1;
    map[tensor.name] = "model-0000" + std::to_string(shard + 1) + "-of-00002.safetensors";
    shards[shard].push_back(std::move(tensor));
  }
  write_tensors(path("model/model-00001-of-00002.safetensors"), shards[0]);
  write_tensors(path("model/model-00002-of-00002.safetensors"), shards[1]);
  write("model/model.safetensors.index.json",
        Json{{"metadata", {{"total_size", 1}}}, {"weight_map", map}}.dump(1));
  fs::remove(path("model/model.safetensors"));
  Json config = read_json("model/tokenizer_config.json");
  write("model/chat_template.jinja", config["chat_template"].get<std::string>());
  config.erase("chat_template");
  write("model/tokenizer_config.json", config.dump(1));
}

void Folder::write_sentencepiece() const {
  fs::remove(path("model/tokenizer.json"));
  fs::copy(kPieces, path("model/tokenizer.model"));
  Json config = read_json("model/tokenizer_config.json");
  config["eos_token"] = "</s>";
  config["added_tokens_decoder"] = {
      {std::to_string(kPieceCount), {{"content", "<pad>"}, {"special", true}}}};
  write("model/tokenizer_config.json", config.dump(1));
  Json model = tiny_config();
  model["vocab_size"] = kPieceCount + 1;
  write("model/config.json", model.dump(1));
  write_tensors(path("model/model.safetensors"), tiny_weights(1, kPieceCount + 1));
}

void Folder::write_adapter() const {
  std::vector<FileTensor> tensors;
  const auto add = [&](const std::string& name, std::int64_t rows, std::int64_t columns) {
    std::vector<float> values(static_cast<std::size_t>(rows * columns));
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = 0.01F * static_cast<float>(i % 7) - 0.02F;
    }
    tensors.push_back({name, {rows, columns}, std::move(values)});
  };
  for (const char* layer : {"0.", "1."}) {
    const std::string prefix = std::string("base_model.model.model.layers.") + layer;
    add(prefix + "self_attn.q_proj.lora_A.weight", kRank, kHidden);
    add(prefix + "self_attn.q_proj.lora_B.weight", kHidden, kRank);
    add(prefix + "mlp.down_proj.lora_A.weight", kRank, kInner);
    add(prefix + "mlp.down_proj.lora_B.weight", kHidden, kRank);
  }
  write_tensors(path("adapter/adapter_model.safetensors"), tensors);
  write("adapter/adapter_config.json",
        Json{{"peft_type", "LORA"},
             {"task_type", "CAUSAL_LM"},
             {"base_model_name_or_path", "base"},
             {"r", kRank},
             {"lora_alpha", 8},
             {"lora_dropout", 0.0},
             {"bias", "none"},
             {"use_rslora", false},
             {"modules_to_save", nullptr},
             {"rank_pattern", {{"model.layers.1.mlp.down_proj", kRank}}},
             {"alpha_pattern", Json::object()},
             {"target_modules", {"q_proj", "(.*\\.)?down_proj"}}}
            .dump(1));
}

void Folder::restore() const {
  for (const char* part : {"model", "adapter"}) fs::remove_all(path(part));
  for (const auto& [name, content] : sound_) write(name, content);
}

// The first complaint of the commands; empty when all of them do their work.
std::string Folder::run_all(const std::string& what) const {
  const auto on_model = [&](Add add, std::vector<std::string> arguments) {
    for (const std::string& word :
         {std::string("--model"), path("model"), std::string("--adapter"), path("adapter"),
          std::string("--input"), path("rows.jsonl"), std::string("--output"), path("out.jsonl"),
          std::string("--device"), std::string("cpu"), std::string("--dtype"),
          std::string("float32"), std::string("--threads"), std::string("1")}) {
      arguments.push_back(word);
    }
    return run(add, std::move(arguments));
  };
  const auto complaint_of = [&](const launch::Failure& failure) {
    EXPECT_EQ(failure.code, launch::kExitUserError) << what << ": " << failure.message;
    EXPECT_NE(failure.message.find(folder_.path()), std::string::npos)
        << what << ": " << failure.message;
    EXPECT_EQ(failure.message.find('\n'), std::string::npos) << what << ": " << failure.message;
    EXPECT_EQ(failure.message.find("GPU"), std::string::npos) << what << ": " << failure.message;
    EXPECT_LT(failure.message.size(), kLongestLine) << what;
    return failure.message.empty() ? "no message" : failure.message;
  };
  std::string complaint;
  const launch::Failure scored = on_model(launch::add_logprobs, {"logprobs"});
  if (scored.code != launch::kExitOk) complaint = complaint_of(scored);
  if (complaint.empty()) {
    EXPECT_TRUE(has_logprobs(path("out.jsonl"), kRows)) << what;
    const launch::Failure generated =
        on_model(launch::add_generate, {"generate", "--max-new-tokens", "2", "--temperature", "0"});
    if (generated.code != launch::kExitOk) {
      complaint = complaint_of(generated);
    } else {
      EXPECT_TRUE(has_completions(path("out.jsonl"), kRows)) << what;
    }
  }
  for (const char* target : {"peft", "vllm", "llamacpp"}) {
    const launch::Failure checked =
        run(launch::add_adapter, {"adapter", "check", "--model", path("model"), "--adapter",
                                  path("adapter"), "--target", target});
    if (checked.code != launch::kExitOk && checked.code != launch::kExitNotUsable) {
      complaint_of(checked);
    }
  }
  return complaint;
}

std::string Folder::complaint(const std::string& what, const std::function<void()>& change) {
  change();
  const std::int64_t before = peak_kilobytes();
  const auto start = std::chrono::steady_clock::now();
  std::string complaint = run_all(what);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  EXPECT_LT(taken.count(), kLongestSeconds) << what;
  EXPECT_LT(peak_kilobytes() - before, kMostKilobytes) << what;
  restore();
  return complaint;
}

std::string Folder::complaint_about(const std::string& name, const std::string& content) {
  return complaint(name + ": " + content.substr(0, 200), [&] { write(name, content); });
}

void Folder::expect_refused(const std::string& name, const std::string& content,
                            const std::vector<std::string>& parts) {
  const std::string said = complaint_about(name, content);
  for (const std::string& part : parts) {
    EXPECT_NE(said.find(part), std::string::npos)
        << "want '" << part << "' in '" << said << "' about " << content.substr(0, 200);
  }
}

std::string with_flipped_bit(std::string content, std::size_t bit) {
  content[bit / 8] = static_cast<char>(content[bit / 8] ^ (1 << (bit % 8)));
  return content;
}

WeightFile::WeightFile(const std::string& content) {
  std::uint64_t size = 0;
  std::memcpy(&size, content.data(), sizeof size);
  header = Json::parse(content.substr(sizeof size, size));
  data = content.substr(sizeof size + size);
}

std::string WeightFile::content() const { return content(header.dump()); }

std::string WeightFile::content(const std::string& header_text) const {
  const std::uint64_t size = header_text.size();
  std::string out(reinterpret_cast<const char*>(&size), sizeof size);
  return out + header_text + data;
}

}  // namespace limbic::test

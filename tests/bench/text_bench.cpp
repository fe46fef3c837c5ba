// Times what turns text into tokens, on one thread:
//   text_bench tokenizer MODEL_FOLDER TEXT_FILE    documents of about 4 KB
//   text_bench template TEMPLATE_FILE              a chat of 10 turns
#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "data/template/chat_template.h"
#include "data/tokenizer/tokenizer.h"
#include "trainer/base/file.h"

using namespace limbic;

namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Cuts at the first line end behind every 4096 bytes, as tokenizer_rival.py does.
std::vector<std::string_view> documents_of(std::string_view text) {
  std::vector<std::string_view> documents;
  while (!text.empty()) {
    const std::size_t end = text.find('\n', std::min<std::size_t>(4096, text.size()));
    const std::size_t size = end == text.npos ? text.size() : end + 1;
    documents.push_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return documents;
}

void time_tokenizer(const std::string& folder, const std::string& file) {
  const data::Tokenizer tokenizer = data::Tokenizer::load(folder);
  const std::string text = read_file(file);
  const auto documents = documents_of(text);
  const double start = now();
  std::size_t tokens = 0;
  for (const std::string_view document : documents) tokens += tokenizer.encode(document).size();
  const double seconds = now() - start;
  std::printf("encode: %.1f MB, %zu tokens, %.2f s, %.1f MB/s\n",
              static_cast<double>(text.size()) / 1e6, tokens, seconds,
              static_cast<double>(text.size()) / 1e6 / seconds);
}

void time_template(const std::string& file) {
  const auto chat_template = data::ChatTemplate::parse(
      read_file(file), file, Json::object({{"bos_token", "<s>"}, {"eos_token", "</s>"}}));
  Json messages = Json::array();
  for (int i = 0; i < 10; ++i) {
    messages.push_back({{"role", i % 2 == 0 ? "user" : "assistant"},
                        {"content", "This is turn " + std::to_string(i) + ", which says a bit."}});
  }
  constexpr int kRounds = 20000;
  const double start = now();
  std::size_t bytes = 0;
  for (int i = 0; i < kRounds; ++i) {
    bytes += chat_template.render(messages, true, Json::object()).text.size();
  }
  std::printf("render: %.1f microseconds, %zu bytes (%s)\n", (now() - start) / kRounds * 1e6,
              bytes / kRounds, file.c_str());
}

}  // namespace

int main(int count, char** arguments) {
  const std::vector<std::string> words(arguments + 1, arguments + count);
  if (words.size() == 3 && words[0] == "tokenizer") {
    time_tokenizer(words[1], words[2]);
  } else if (words.size() == 2 && words[0] == "template") {
    time_template(words[1]);
  } else {
    std::fprintf(stderr, "usage: text_bench tokenizer FOLDER FILE | text_bench template FILE\n");
    return 2;
  }
  return 0;
}

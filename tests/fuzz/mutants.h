// Model folders with one thing wrong, and what limbic makes of them: the commands of the binary run
// in this process. Whatever is in a folder, a command ends in numbers or in one line that says what
// is wrong where; never in a crash, a hang or the exception of a library.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "tests/support/temp_folder.h"
#include "trainer/base/fields.h"

namespace limbic::test {

enum class Kind {
  kSingle,         // model.safetensors, tokenizer.json, the template in tokenizer_config.json
  kSharded,        // two shards with their index, chat_template.jinja
  kSentencePiece,  // tokenizer.model
};

// A tiny model in model/ and an adapter for it in adapter/, below a folder of their own.
class Folder {
 public:
  explicit Folder(Kind kind);

  std::string path(const std::string& name) const { return folder_.file(name); }
  // Files of the model, of the adapter: "model/config.json", "adapter/adapter_config.json", ...
  std::vector<std::string> names() const;
  std::string read(const std::string& name) const;
  Json read_json(const std::string& name) const { return Json::parse(read(name)); }

  // Runs `change` (which may do anything to the files), then every command on the folder, then puts
  // the files back as they were. Adds a failure to the running test unless all is as said above.
  // Returns the complaint; empty when the folder was loaded and gave finite numbers.
  std::string complaint(const std::string& what, const std::function<void()>& change);
  std::string complaint_about(const std::string& name, const std::string& content);

  // The same, and the complaint has to have all of `parts`.
  void expect_refused(const std::string& name, const std::string& content,
                      const std::vector<std::string>& parts);

  void write(const std::string& name, const std::string& content) const;

 private:
  void write_adapter() const;
  void write_shards() const;
  void write_sentencepiece() const;
  void restore() const;
  std::string run_all(const std::string& what) const;

  TempFolder folder_;
  std::vector<std::pair<std::string, std::string>> sound_;  // name, content
};

// Draws that are the same everywhere.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : random_(seed) {}
  std::size_t below(std::size_t count) { return random_() % count; }

 private:
  std::mt19937_64 random_;
};

std::string with_flipped_bit(std::string content, std::size_t bit);

// A safetensors file in its parts.
struct WeightFile {
  Json header;
  std::string data;
  explicit WeightFile(const std::string& content);
  std::string content() const;
  // The same with another text for a header.
  std::string content(const std::string& header_text) const;
};

}  // namespace limbic::test

#include "tests/support/workplace.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <stdexcept>

#include "tests/support/model_folder.h"
#include "trainer/base/file.h"

namespace limbic::test {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

}  // namespace

Workplace::Workplace() { write_tiny_model(model()); }

std::string Workplace::write(const std::string& name, const std::string& content) const {
  write_file_atomically(file(name), content);
  return file(name);
}

std::string Workplace::write_rows(const std::string& name, const std::vector<Json>& rows) const {
  std::string text;
  for (const Json& row : rows) text += row.dump() + "\n";
  return write(name, text);
}

std::vector<Json> Workplace::read_rows(const std::string& name) const {
  std::vector<Json> rows;
  for (const std::string& line : lines_of(read_file(file(name)))) rows.push_back(Json::parse(line));
  return rows;
}

Json Workplace::read_json(const std::string& name) const {
  return Json::parse(read_file(file(name)));
}

std::string Workplace::write_config(const std::string& text, const std::string& name) const {
  return write(name, "run: {name: t, output: " + file("out") +
                         ", dtype: float32, seed: 7}\nmodel: {path: " + model() +
                         "}\ndatasets:\n  d: {path: " + file("rows.jsonl") + "}\n" + text + "\n");
}

std::map<std::string, std::string> Workplace::snapshot(const std::string& folder) const {
  std::map<std::string, std::string> files;
  const fs::path root = folder.empty() ? fs::path(folder_.path()) : fs::path(file(folder));
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const std::string name = entry.path().lexically_relative(root).string();
    if (entry.is_symlink()) {
      files[name] = "-> " + fs::read_symlink(entry.path()).string();
    } else {
      files[name] = entry.is_directory() ? "folder" : read_file(entry.path().string());
    }
  }
  return files;
}

std::vector<Json> Workplace::metrics(const std::string& run) const {
  std::vector<Json> rows = read_rows(run + "/metrics.jsonl");
  for (Json& row : rows) {
    row.erase("time");
    for (const char* key : {"step_time", "exchange_time", "peak_rss_mb"}) row.erase(key);
  }
  return rows;
}

std::vector<double> Workplace::metric(const std::string& name, const std::string& stage,
                                      const std::string& run) const {
  std::vector<double> values;
  for (const Json& row : metrics(run)) {
    if (row.at("stage") == stage && row.contains(name) && row.at(name).is_number()) {
      values.push_back(row.at(name));
    }
  }
  return values;
}

std::vector<std::string> changes(const std::map<std::string, std::string>& before,
                                 const std::map<std::string, std::string>& after) {
  std::vector<std::string> names;
  for (const auto& [name, content] : before) {
    const auto now = after.find(name);
    if (now == after.end()) {
      names.push_back("removed " + name);
    } else if (now->second != content) {
      names.push_back("changed " + name);
    }
  }
  for (const auto& [name, content] : after) {
    if (!before.contains(name)) names.push_back("added " + name);
  }
  return names;
}

std::vector<Json> chats(int count) {
  static const char* const kWords[] = {"red", "green", "blue", "black", "white"};
  std::vector<Json> rows;
  for (int i = 0; i < count; ++i) {
    std::string answer = kWords[i % 5];
    for (int more = 0; more < i % 4; ++more) answer += std::string(" ") + kWords[(i + more) % 5];
    rows.push_back({{"messages", Json::array({{{"role", "user"},
                                               {"content", "colour " + std::to_string(i) + "?"}},
                                              {{"role", "assistant"}, {"content", answer}}})},
                    {"n", i % 7},
                    {"label", kWords[i % 5]}});
  }
  return rows;
}

std::vector<Json> prompts(int count) {
  std::vector<Json> rows;
  for (int i = 0; i < count; ++i) {
    rows.push_back({{"prompt", "say " + std::to_string(i)}, {"label", i % 2 == 0 ? "a" : "b"}});
  }
  return rows;
}

std::string served_address(Process& worker) {
  const std::string mark = "serving on ";
  if (!worker.wait_for(mark)) return "";
  const std::size_t begin = worker.err().find(mark) + mark.size();
  return worker.err().substr(begin, worker.err().find_first_of(" \n", begin) - begin);
}

std::vector<std::string> error_lines(const Ended& ended) {
  std::vector<std::string> errors;
  for (const std::string& line : lines_of(ended.err)) {
    if (line.starts_with("error: ")) errors.push_back(line);
  }
  return errors;
}

void expect_refused(const Ended& ended, const std::vector<std::string>& parts) {
  EXPECT_EQ(ended.code, 2) << ended.err;
  const std::vector<std::string> errors = error_lines(ended);
  ASSERT_EQ(errors.size(), 1U) << ended.err;
  for (const std::string& part : parts) {
    EXPECT_NE(errors[0].find(part), std::string::npos)
        << "want '" << part << "' in\n  " << errors[0];
  }
}

void expect_ok(const Ended& ended) {
  EXPECT_FALSE(ended.timed_out);
  EXPECT_EQ(ended.code, 0) << "signal " << ended.signal << "\n" << ended.err << ended.out;
}

}  // namespace limbic::test

// A temporary folder with a tiny model, data and experiment files for one test.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/support/process.h"
#include "tests/support/temp_folder.h"
#include "trainer/base/fields.h"

namespace limbic::test {

class Workplace {
 public:
  // Makes an empty folder with the tiny model in model/.
  Workplace();

  std::string file(const std::string& name) const { return folder_.file(name); }
  std::string model() const { return file("model"); }
  // Returns the full path.
  std::string write(const std::string& name, const std::string& content) const;
  // One JSON object per line.
  std::string write_rows(const std::string& name, const std::vector<Json>& rows) const;
  std::vector<Json> read_rows(const std::string& name) const;
  Json read_json(const std::string& name) const;

  // config.yaml: a float32 run with seed 7 into out/ on the model, dataset `d` from rows.jsonl,
  // then `text` (the other sections, stages among them).
  std::string write_config(const std::string& text, const std::string& name = "config.yaml") const;

  // Relative path -> content of every file below a folder (links and folders as such).
  std::map<std::string, std::string> snapshot(const std::string& folder = "") const;
  // Lines of metrics.jsonl of a run's folder without times.
  std::vector<Json> metrics(const std::string& run = "out") const;
  // One value of each of these lines that has it.
  std::vector<double> metric(const std::string& name, const std::string& stage,
                             const std::string& run = "out") const;

 private:
  TempFolder folder_;
};

// Names of the files that were added, removed or changed between two snapshots.
std::vector<std::string> changes(const std::map<std::string, std::string>& before,
                                 const std::map<std::string, std::string>& after);

// Conversations about colours, all different: {"messages": [...], "n", "label"}.
std::vector<Json> chats(int count);
// {"prompt": ..., "label": ...}.
std::vector<Json> prompts(int count);

// HOST:PORT of a `limbic serve` that has just been started; empty when it ended.
std::string served_address(Process& worker);

// Lines that begin with `error: `.
std::vector<std::string> error_lines(const Ended& ended);
// Exit code 2, one error line with all of `parts`. Adds a failure of the running test otherwise.
void expect_refused(const Ended& ended, const std::vector<std::string>& parts);
void expect_ok(const Ended& ended);

}  // namespace limbic::test

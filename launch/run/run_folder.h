// What a run leaves in `run.output`, and the memory of what is already done there. Rank 0 writes;
// every rank reads the same state because rank 0 sends it.
#pragma once

#include <string>
#include <vector>

#include "launch/config/run_config.h"
#include "launch/config/settings.h"
#include "trainer/parallel/communicator.h"

namespace limbic::launch {

// One finished stage, as summary.json has it.
struct StageRecord {
  std::string name, type;
  std::int64_t steps = 0;
  double wall_seconds = 0.0;
  std::int64_t tokens = 0;
  std::int64_t peak_rss_mb = 0;  // largest memory of a rank so far
  std::int64_t peak_gpu_mb = 0;  // the same of tensors on a GPU; 0 on the CPU
  Json metrics = Json::object();
  Json lineage = Json::object();
};

class RunFolder {
 public:
  struct Options {
    bool allow_change = false;
    bool overwrite = false;
  };
  // Creates the folder or takes up the run in it. Every rank must call. Throws ConfigError when the
  // folder holds another run (the differences are listed), DataError when it cannot be written.
  RunFolder(parallel::Communicator& communicator, const RunConfig& config, const Options& options);

  const std::string& path() const { return path_; }
  const std::vector<StageRecord>& finished() const { return finished_; }
  const StageRecord* find(const std::string& stage) const;

  // The folder of a stage's result; written under a temporary name until `finish`.
  std::string stage_folder(const std::string& stage) const { return path_ + "/" + stage; }
  std::string unfinished_folder(const std::string& stage) const {
    return path_ + "/" + stage + ".unfinished";
  }
  // Makes an empty unfinished folder (rank 0), removing what an interrupted run left.
  void begin(const std::string& stage);
  // Renames the stage's folder into place and adds the record to summary.json.
  void finish(const StageRecord& record);
  // After bad input: a folder that this process has made goes again, unless something was trained
  // in it, so that the corrected run may take it; a run that it was to overwrite comes back. Rank 0
  // acts.
  void undo();
  // Points `final` to a stage's folder.
  void link_final(const std::string& stage);

 private:
  void take_up(const RunConfig& config, const Options& options);
  // The run that is being overwritten waits there until a stage of the new one is done.
  std::string replaced_folder() const { return path_ + ".replaced"; }
  void set_aside() const;
  void write_summary() const;

  parallel::Communicator& communicator_;
  std::string path_;
  Settings settings_;
  std::vector<StageRecord> finished_;
  bool fresh_ = false;  // held nothing before
  std::string begun_;   // the latest stage, on rank 0
};

}  // namespace limbic::launch

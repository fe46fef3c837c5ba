// Checkpoints of one stage: FOLDER/step-00000100/ with the state of every rank that owns any, and a
// manifest with sizes and SHA-256 of all files. A checkpoint exists when its manifest does: files
// are written aside, synced and renamed, the manifest last. See `reliability.md` of the reference
// notes, section 3, for the failure model.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "trainer/base/fields.h"
#include "trainer/parallel/communicator.h"
#include "trainer/tensor/named_tensors.h"

namespace limbic::checkpoint {

struct CheckpointContent {
  NamedTensors tensors;
  Json state = Json::object();
};

struct LoadedCheckpoint {
  std::int64_t step = 0;
  NamedTensors tensors;
  Json state;
  Json info;
  std::string folder;
};

// Every rank must call; rank 0 writes what is the same on all ranks. After the new one stands, it
// and the `keep` - 1 before it are kept: older ones are removed, and so are later ones, which a run
// leaves behind when it continues from an earlier step. Throws DataError when the disk refuses (on
// all ranks); the earlier checkpoints stay usable.
void save_replicated(parallel::Communicator& communicator, const std::string& folder,
                     std::int64_t step, const CheckpointContent& content, const Json& info,
                     std::int64_t keep);

// The newest checkpoint whose files all match the manifest; a damaged one is named in a warning and
// passed over. Every rank must call and every rank gets the same one. Empty when there is none;
// throws DataError when there are checkpoints but all are damaged.
std::optional<LoadedCheckpoint> load_latest(parallel::Communicator& communicator,
                                            const std::string& folder);

// One step folder. Throws DataError naming the file and the reason.
LoadedCheckpoint load(const std::string& step_folder);

struct Verdict {
  std::string folder;  // step folder
  std::int64_t step = 0;
  std::string problem;  // empty = every hash matches
};
// Checks every hash of every checkpoint below `folder`: a step, a stage or a run folder.
std::vector<Verdict> verify(const std::string& folder);

}  // namespace limbic::checkpoint

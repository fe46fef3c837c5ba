// One checkpoint on disk: FOLDER/step-00000100/{state.safetensors, state.json, MANIFEST.json}.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "trainer/checkpoint/checkpoint.h"

namespace limbic::checkpoint {

inline constexpr std::int64_t kSchemaVersion = 1;

std::string step_name(std::int64_t step);
// The step of a folder named so, empty for another name.
std::optional<std::int64_t> step_of_folder(const std::string& folder);
// Steps below a stage folder, newest first; unfinished ones are not among them. None when the
// folder does not exist; throws DataError when it cannot be read.
std::vector<std::pair<std::int64_t, std::string>> steps_below(const std::string& folder);

// Writes aside, syncs, hashes, renames; an existing folder of the step is replaced. Throws
// DataError and leaves nothing behind when the disk refuses.
void write_step(const std::string& folder, std::int64_t step, const CheckpointContent& content,
                const Json& info);
// Removes what interrupted saves left.
void remove_unfinished(const std::string& folder);

// Throws DataError naming the file when a file is missing or differs from the manifest.
Json read_manifest(const std::string& step_folder);
void check_files(const std::string& step_folder, const Json& manifest);

}  // namespace limbic::checkpoint

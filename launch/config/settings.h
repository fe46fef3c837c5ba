// The resolved experiment file and the part of it that changes numbers.
#pragma once

#include <map>
#include <string>

#include "launch/config/run_config.h"

namespace limbic::launch {

// Settings that change numbers: dotted path -> value. Paths of outputs, addresses, logging and
// checkpoint intervals are not among them.
using Settings = std::map<std::string, std::string>;
Settings numeric_settings(const RunConfig& config, int world);
std::string settings_hash(const Settings& settings);

// The file with every default filled in, under a comment with versions, world and hashes; reads
// back to the same run.
std::string resolved_config(const RunConfig& config, int world);

}  // namespace limbic::launch

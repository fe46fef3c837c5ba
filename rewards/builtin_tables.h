// The YAML texts of configs/labels, compiled in by the build so that a binary works from any
// folder.
#pragma once

#include <string_view>

namespace limbic::rewards {

std::string_view builtin_ekman();
std::string_view builtin_au_emotion();

}  // namespace limbic::rewards

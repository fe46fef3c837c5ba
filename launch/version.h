// Versions of limbic and of the libraries that it runs on.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace limbic::launch {

// Name and version, limbic first.
std::vector<std::pair<std::string, std::string>> versions();
// What `limbic --version` prints.
std::string version_text();

}  // namespace limbic::launch

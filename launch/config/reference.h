// docs/config.md: every key of the experiment file, from the descriptions that read it.
#pragma once

#include <string>

namespace limbic::launch {

// Markdown. `limbic --config-reference > docs/config.md` writes the page again.
std::string config_reference();

}  // namespace limbic::launch

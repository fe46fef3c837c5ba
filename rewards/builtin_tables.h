// The texts of configs/labels and configs/rubrics, compiled in by the build so that a binary works
// from any folder.
#pragma once

#include <string_view>

namespace limbic::rewards {

std::string_view builtin_ekman();
std::string_view builtin_au_emotion();

// Rubrics, and the template (Jinja) of what a judge reads.
std::string_view builtin_emobserver();
std::string_view builtin_kardia();
std::string_view builtin_mentra();
std::string_view builtin_judge_prompt();

}  // namespace limbic::rewards

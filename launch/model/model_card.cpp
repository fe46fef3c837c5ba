#include "launch/model/model_card.h"

#include <fmt/format.h>

#include <filesystem>

#include "launch/version.h"

namespace limbic::launch {

namespace {

// The text behind the YAML block that a card may begin with.
std::string without_front_matter(const std::string& text) {
  constexpr const char* kFence = "---\n";
  if (!text.starts_with(kFence)) return text;
  const std::size_t end = text.find(std::string("\n") + kFence, 3);
  if (end == std::string::npos) return text;
  const std::size_t begin = text.find_first_not_of('\n', end + 5);
  return begin == std::string::npos ? "" : text.substr(begin);
}

}  // namespace

std::string card_text(const ModelCard& card) {
  const std::filesystem::path base(card.base);
  const std::string name =
      (base.has_filename() ? base : base.parent_path()).filename().generic_string();
  const auto [program, version] = versions().front();
  std::string text = fmt::format(
      "---\nbase_model: {}\nlibrary_name: {}\npipeline_tag: text-generation\ntags: [limbic{}]\n"
      "---\n\n# {}\n\nMade with {} {} from `{}`.\n\n| | |\n|---|---|\n",
      name, card.adapter ? "peft" : "transformers", card.adapter ? ", lora" : "",
      card.adapter ? "Adapter for " + name : name + ", post-trained", program, version, name);
  text += fmt::format("| base | {} |\n", card.base);
  for (std::size_t i = 0; i < card.steps.size(); ++i) {
    text += fmt::format("| step {} | {} |\n", i + 1, card.steps[i].what);
    for (const auto& [data, hash] : card.steps[i].data) {
      text += fmt::format("| step {} data | {} `{}` |\n", i + 1, data, hash);
    }
  }
  if (!card.config.empty()) text += fmt::format("| config | `{}` |\n", card.config);
  for (const std::string& reward : card.rewards) text += fmt::format("| reward | {} |\n", reward);
  if (!card.of_adapter.empty()) text += "\n" + without_front_matter(card.of_adapter);
  return text;
}

}  // namespace limbic::launch

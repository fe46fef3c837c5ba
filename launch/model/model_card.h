// The README.md of an exported folder: what it was made from.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace limbic::launch {

struct ModelCard {
  std::string base;  // the model that everything started from
  bool adapter = false;
  using Hashes = std::vector<std::pair<std::string, std::string>>;  // name, hash
  // The steps from the base to here, in order: what was done with which data.
  struct Step {
    std::string what;  // "sft, 66 steps"
    Hashes data;
  };
  std::vector<Step> steps;
  std::string config;                // hash of the settings that change numbers, or empty
  std::vector<std::string> rewards;  // terms or workers of the rewarded stages
  std::string of_adapter = {};       // the card of an adapter that was merged, or empty
};

std::string card_text(const ModelCard& card);

}  // namespace limbic::launch

// Test support: rubrics from YAML text, the attack corpus, and replies of a judge.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "rewards/judge/judge_prompt.h"
#include "rewards/judge/rubric.h"
#include "rewards/judge/verdict.h"
#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/base/yaml_config.h"

namespace limbic::rewards {

inline Rubric rubric_of(const std::string& yaml) {
  RubricConfig config;
  YamlDocument::parse(yaml, "rubric.yaml").read(config);
  return Rubric(config);
}

// One of each kind: an axis of weight 3, two criteria of weight 1 (one of them good when no), a
// veto that leaves a quarter.
inline Rubric mixed_rubric() {
  return rubric_of(
      "about: a reply\n"
      "axes: [{name: empathy, question: 'Does it care?', weight: 3, anchors: {1: cold, 5: warm}}]\n"
      "criteria: [{name: asks, question: 'Does it ask?'}, {name: blames, question: 'Does it "
      "blame?', "
      "good: no}]\n"
      "vetoes: [{name: unsafe, question: 'Is it unsafe?', at_most: 0.25}]\n");
}

inline std::string mixed_reply(const std::string& ticket, const std::string& reasons, int empathy,
                               bool asks, bool blames, bool unsafe) {
  return Json{{"reasons", reasons}, {"empathy", empathy}, {"asks", asks},
              {"blames", blames},   {"unsafe", unsafe},   {"ticket", ticket}}
      .dump();
}

// A reply of the right form for any rubric: the lowest values.
inline std::string lowest_reply(const Rubric& rubric, const std::string& ticket,
                                const std::string& reasons) {
  Json reply = {{"reasons", reasons}};
  for (const RubricItem& item : rubric.items()) {
    if (item.kind == RubricItem::Kind::kAxis) {
      reply[item.name] = rubric.lowest();
    } else {
      reply[item.name] = item.kind == RubricItem::Kind::kVeto || !item.yes_is_good;
    }
  }
  reply["ticket"] = ticket;
  return reply.dump();
}

// Texts that want a judge's favour, by family (attacks.json, written for limbic).
inline std::map<std::string, std::vector<std::string>> attacks() {
  return Json::parse(read_file(LIMBIC_SOURCE_DIR "/tests/unit/judge/attacks.json"))
      .get<std::map<std::string, std::vector<std::string>>>();
}

}  // namespace limbic::rewards

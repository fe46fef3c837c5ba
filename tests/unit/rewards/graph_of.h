// Test support: a reward graph from YAML text, completions from text and columns.
#pragma once

#include <map>
#include <string>

#include "rewards/config.h"
#include "rewards/graph.h"
#include "trainer/base/error.h"
#include "trainer/base/yaml_config.h"

namespace limbic::rewards {

struct GraphFile {
  NodeConfig graph;
};
inline void describe(Fields& f, GraphFile& c) { f.section("graph", c.graph, "the graph"); }

inline NodeConfig graph_config(const std::string& flow_yaml) {
  GraphFile file;
  YamlDocument::parse("graph: " + flow_yaml + "\n", "run.yaml").read(file);
  return file.graph;
}

inline Completion completion(const std::string& text,
                             const std::map<std::string, std::string>& columns = {}) {
  Completion c;
  c.key = "k";
  c.text = text;
  c.columns = columns;
  return c;
}

inline Completion of_tokens(std::int64_t count) {
  Completion c = completion("words");
  c.ids.assign(static_cast<std::size_t>(count), 7);
  return c;
}

inline Score score_of(const std::string& flow_yaml, const Completion& c, std::int64_t step = 0,
                      const GraphContext& context = {}) {
  return Graph(graph_config(flow_yaml), context).score({&c, 1}, step).at(0);
}

// The reward; fails the test by an exception when there is none.
inline double reward_of(const std::string& flow_yaml, const Completion& c, std::int64_t step = 0,
                        const GraphContext& context = {}) {
  return score_of(flow_yaml, c, step, context).reward.value();
}

inline const Component& component_of(const Score& score, const std::string& name) {
  for (const Component& component : score.components) {
    if (component.name == name) return component;
  }
  throw std::out_of_range("no component " + name);
}

// The message of the ConfigError that reading or building the graph throws.
inline std::string config_error_of(const std::string& flow_yaml, const GraphContext& context = {}) {
  try {
    Graph graph(graph_config(flow_yaml), context);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace limbic::rewards

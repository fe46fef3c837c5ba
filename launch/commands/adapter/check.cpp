// `limbic adapter check`: what another loader makes of an adapter.
#include <iostream>

#include "launch/commands/commands.h"
#include "launch/exit_code.h"
#include "trainer/model/peft/adapter_check.h"

namespace limbic::launch {
namespace {

struct CheckOptions {
  std::string model, adapter;
  model::AdapterTarget target = model::AdapterTarget::kPeft;
  bool json = false;
};

const char* word_of(model::AdapterFinding::Weight weight) {
  using Weight = model::AdapterFinding::Weight;
  return weight == Weight::kNote ? "note" : weight == Weight::kRefused ? "refused" : "silent";
}

int check(const CheckOptions& options) {
  const model::AdapterReport report = model::check_adapter(model::ModelConfig::load(options.model),
                                                           options.adapter, options.target);
  if (options.json) {
    Json findings = Json::array();
    for (const auto& finding : report.findings) {
      findings.push_back({{"kind", word_of(finding.weight)}, {"text", finding.text}});
    }
    std::cout << Json{{"usable", report.usable()},
                      {"tensors", report.tensors},
                      {"matched", report.matched},
                      {"findings", findings}}
                     .dump(2)
              << "\n";
  } else {
    for (const auto& finding : report.findings) {
      std::cout << fmt::format("{}: {}: {}\n", options.adapter, word_of(finding.weight),
                               finding.text);
    }
    std::cout << fmt::format("{}: {} of {} tensors match; {}\n", options.adapter, report.matched,
                             report.tensors, report.usable() ? "usable" : "not usable as it is");
  }
  return report.usable() ? kExitOk : kExitNotUsable;
}

}  // namespace

void add_adapter(Command limbic) {
  Command group = limbic.add("adapter", "look at adapters");
  group.as_group();
  const std::string example =
      "limbic adapter check --model models/SmolLM2-135M-Instruct --adapter runs/a/final "
      "--target vllm";
  group.example(example);
  Command command = group.add(
      "check", "what peft, vLLM or llama.cpp would refuse or pass over; exit code 1 if anything");
  auto options = std::make_shared<CheckOptions>();
  command.option("--model", options->model, "Hugging Face folder of the base").required();
  command.option("--adapter", options->adapter, "PEFT folder").required();
  command.choice<model::AdapterTarget>("--target", options->target,
                                       {{"peft", model::AdapterTarget::kPeft},
                                        {"vllm", model::AdapterTarget::kVllm},
                                        {"llamacpp", model::AdapterTarget::kLlamacpp}},
                                       "the loader: peft, vllm or llamacpp (peft)");
  command.flag("--json", options->json, "the report as JSON");
  command.example(example);
  command.runs([options] { return check(*options); });
}

}  // namespace limbic::launch

// `limbic merge`: folds a LoRA adapter into a full model folder.
#include <filesystem>
#include <iostream>

#include "launch/commands/commands.h"
#include "launch/model/model_folder.h"
#include "trainer/base/error.h"
#include "trainer/base/file.h"

namespace limbic::launch {
namespace {

struct MergeOptions {
  std::string model, adapter, output, chat_template;
  Dtype dtype = Dtype::kFloat32;
};

int merge(const MergeOptions& options) {
  namespace fs = std::filesystem;
  if (fs::exists(options.output) && !fs::is_empty(options.output)) {
    throw ConfigError(options.output +
                      ": got a folder that is not empty (or a file), want a new one");
  }
  const std::string target = fs::path(options.output + "/").parent_path();  // no slash at its end
  const std::string aside = target + ".unfinished";
  fs::remove_all(aside);
  const at::ScalarType type = options.dtype == Dtype::kBfloat16 ? at::kBFloat16 : at::kFloat;
  const std::string adapter_card = options.adapter + "/README.md";
  const ModelCard card{.base = options.model,
                       .steps = {{"merged with the adapter " + options.adapter, {}}},
                       .config = "",
                       .rewards = {},
                       .of_adapter = fs::exists(adapter_card) ? read_file(adapter_card) : ""};
  const MergeResult result = [&] {
    try {
      return merge_adapter(options.model, options.adapter, options.chat_template, type, card,
                           aside);
    } catch (...) {
      fs::remove_all(aside);
      throw;
    }
  }();
  fs::remove_all(target);
  fs::rename(aside, target);
  std::cout << fmt::format(
      "{}: {} modules merged, largest change {:.3g}, relative change {:.3g}; read again, "
      "log-probabilities differ by at most {:.3g}\n",
      options.output, result.report.modules, result.report.largest_change,
      result.report.relative_change, result.drift);
  return 0;
}

}  // namespace

void add_merge(Command limbic) {
  Command command = limbic.add("merge", "fold a LoRA adapter into a full model folder");
  auto options = std::make_shared<MergeOptions>();
  command.option("--model", options->model, "Hugging Face folder of the base").required();
  command.option("--adapter", options->adapter, "PEFT folder").required();
  command.option("--output", options->output, "new model folder").required();
  command.option("--chat-template", options->chat_template, "template of the new folder");
  command.choice<Dtype>("--dtype", options->dtype,
                        {{"float32", Dtype::kFloat32}, {"bfloat16", Dtype::kBfloat16}},
                        "float32 or bfloat16 (float32)");
  command.example(
      "limbic merge --model models/SmolLM2-135M-Instruct --adapter runs/a/final "
      "--output merged");
  command.runs([options] { return merge(*options); });
}

}  // namespace limbic::launch

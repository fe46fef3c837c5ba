#include "launch/commands/commands.h"

namespace limbic::launch {

void add_model_options(Command command, ModelOptions& options) {
  command.option("--model", options.model, "Hugging Face model folder").required();
  command.option("--adapter", options.adapter, "PEFT adapter folder");
  command.option("--chat-template", options.chat_template,
                 "file that replaces the folder's chat template");
  command.choice<Device>("--device", options.device,
                         {{"auto", Device::kAuto}, {"cpu", Device::kCpu}, {"cuda", Device::kCuda}},
                         "auto, cpu or cuda; auto = a GPU where one is");
  command.choice<Dtype>(
      "--dtype", options.dtype,
      {{"auto", Dtype::kAuto}, {"float32", Dtype::kFloat32}, {"bfloat16", Dtype::kBfloat16}},
      "compute type: auto, float32 or bfloat16");
  command.option("--threads", options.threads, "threads; 0 = OMP_NUM_THREADS, else all cores")
      .whole_number(0, 1024);
}

}  // namespace limbic::launch

#include "launch/commands/commands.h"

namespace limbic::launch {

void add_model_options(CLI::App& command, ModelOptions& options) {
  command.add_option("--model", options.model, "Hugging Face model folder")->required();
  command.add_option("--adapter", options.adapter, "PEFT adapter folder");
  command.add_option("--chat-template", options.chat_template,
                     "file that replaces the folder's chat template");
  const std::map<std::string, Dtype> dtypes = {
      {"auto", Dtype::kAuto}, {"float32", Dtype::kFloat32}, {"bfloat16", Dtype::kBfloat16}};
  const std::map<std::string, Device> devices = {
      {"auto", Device::kAuto}, {"cpu", Device::kCpu}, {"cuda", Device::kCuda}};
  command.add_option("--device", options.device, "auto, cpu or cuda; auto = a GPU where one is")
      ->transform(CLI::CheckedTransformer(devices));
  command.add_option("--dtype", options.dtype, "compute type: auto, float32 or bfloat16")
      ->transform(CLI::CheckedTransformer(dtypes));
  command.add_option("--threads", options.threads, "threads; 0 = OMP_NUM_THREADS, else all cores")
      ->check(CLI::Range(0, 1024));
}

void add_example(CLI::App& command, const std::string& example) {
  command.footer("Example:\n  " + example);
}

}  // namespace limbic::launch

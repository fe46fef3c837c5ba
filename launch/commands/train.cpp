// `limbic train`: the pipeline of an experiment file, on one rank or under mpirun.
#include "launch/commands/commands.h"
#include "launch/commands/inspect.h"
#include "launch/run/pipeline.h"
#include "launch/run/signals.h"
#include "launch/run/world.h"
#include "trainer/base/error.h"
#include "trainer/base/log.h"

namespace limbic::launch {
namespace {

struct TrainOptions {
  std::string config;
  std::vector<std::string> overrides;
  std::string resume = "auto";
  bool dry_run = false;
  bool allow_change = false;
  bool overwrite = false;
  bool quiet = false;
};

PipelineOptions pipeline_options(const TrainOptions& options) {
  PipelineOptions out;
  out.folder = {.allow_change = options.allow_change, .overwrite = options.overwrite};
  out.quiet = options.quiet;
  if (options.resume == "never") {
    out.resume = false;
  } else if (options.resume != "auto") {
    out.resume_from = options.resume;
  }
  return out;
}

int train(const TrainOptions& options) {
  const std::atomic<bool>& stop = watch_stop_signals();
  return run_in_world([&](World& world) {
    const RunConfig config = world.load_config(options.config, options.overrides);
    if (config.stages.empty()) {
      throw ConfigError(options.config + ": stages: got none, want at least one");
    }
    set_threads(config.run.threads);
    config.in_place([&] {
      if (options.dry_run) {
        if (world.communicator().rank() == 0) inspect(config, world.communicator().size());
        return;
      }
      const Place place = world.take_place(config);
      run_pipeline(config, place, world.communicator(), pipeline_options(options), stop);
    });
  });
}

}  // namespace

void add_train(Command limbic) {
  Command command = limbic.add("train", "run the stages of an experiment file");
  auto options = std::make_shared<TrainOptions>();
  command.option("config", options->config, "experiment file").required();
  command.option("overrides", options->overrides, "section.key=value, stages.NAME.key=value");
  command.option("--resume", options->resume, "auto, never, or a checkpoint's step folder");
  command.flag("--dry-run", options->dry_run, "say what would be done, train nothing");
  command.flag("--allow-change", options->allow_change,
               "go on in a folder whose run had other settings");
  command.flag("--overwrite", options->overwrite, "delete the run in the folder, start anew");
  command.flag("--quiet", options->quiet, "no progress lines");
  command.example(
      "limbic train configs/quickstart_local.yaml run.output=runs/a stages.sft.learning_rate=1e-4\n"
      "  mpirun -n 2 limbic train configs/quickstart_local.yaml");
  command.runs([options] { return train(*options); });
}

}  // namespace limbic::launch

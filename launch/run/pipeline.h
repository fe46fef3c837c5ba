// The stages of an experiment in order. Each training stage starts from the result folder of the
// one before it, so a resumed run computes what an undisturbed one does; finished stages are
// skipped.
#pragma once

#include <atomic>
#include <string>

#include "launch/config/run_config.h"
#include "launch/model/place.h"
#include "launch/run/run_folder.h"
#include "trainer/parallel/communicator.h"

namespace limbic::launch {

struct PipelineOptions {
  bool resume = true;       // continue an unfinished stage from its newest checkpoint
  std::string resume_from;  // a step folder to continue from instead
  RunFolder::Options folder;
  bool quiet = false;  // no progress lines
};

// Every rank must call. Throws Interrupted on a stop request; everything written stays usable.
void run_pipeline(const RunConfig& config, const Place& place, parallel::Communicator& communicator,
                  const PipelineOptions& options, const std::atomic<bool>& stop_requested);

}  // namespace limbic::launch

#include "trainer/engine/train_config.h"

namespace limbic::engine {

void describe(Fields& f, TrainConfig& c) {
  f.field("steps", c.steps, "optimizer steps; exclusive with num_train_epochs",
          Bounds::at_least(1));
  f.field("num_train_epochs", c.num_train_epochs,
          "passes over the data (default 1 when steps is not set)", Bounds::positive());
  f.field("per_device_train_batch_size", c.per_device_train_batch_size,
          "rows (SFT) or completions (GRPO) per rank and micro-batch", Bounds::at_least(1));
  f.field("gradient_accumulation_steps", c.gradient_accumulation_steps,
          "micro-batches per optimizer step", Bounds::at_least(1));
  f.field(
      "max_tokens_per_batch", c.max_tokens_per_batch,
      "cut a rank's rows of a step into micro-batches of at most this many tokens; 0 = cut by rows",
      Bounds::at_least(0));
  f.field("max_length", c.max_length, "longest sequence in tokens", Bounds::at_least(2));
  f.field("packing", c.packing,
          "put the rows of a micro-batch into one packed sequence; false runs each row by itself");
  f.field("shuffle", c.shuffle, "shuffle the rows in every epoch; false keeps the file's order");
  f.choice("overlong", c.overlong,
           {{Overlong::kError, "error"},
            {Overlong::kDrop, "drop"},
            {Overlong::kTruncateLeft, "truncate_left"},
            {Overlong::kTruncateRight, "truncate_right"}},
           "what to do with rows longer than max_length; found before the first step");
  describe(f, c.schedule);
  describe(f, c.adamw);
  f.field("max_grad_norm", c.max_grad_norm, "clip the global gradient norm; 0 switches it off",
          Bounds::at_least(0.0));
  f.field("max_skipped_steps", c.max_skipped_steps,
          "steps in a row that may have a loss or a gradient that is not finite: they update "
          "nothing and are counted (skipped_steps); one more ends the run",
          Bounds::at_least(0));
  f.field("save_steps", c.save_steps, "steps between checkpoints; 0 saves at the end only",
          Bounds::at_least(0));
  f.field("save_total_limit", c.save_total_limit, "checkpoints kept per stage",
          Bounds::at_least(1));
  f.field("logging_steps", c.logging_steps, "steps between lines of metrics.jsonl",
          Bounds::at_least(1));
  if (f.reading() && c.steps && c.num_train_epochs) {
    f.fail("num_train_epochs", "got steps and num_train_epochs, want one of them");
  }
}

}  // namespace limbic::engine

#include "trainer/sft/sft_config.h"

namespace limbic::sft {

void describe(Fields& f, SftConfig& c) {
  f.require("data");
  f.field("data", c.data, "dataset, or a list of datasets to mix");
  f.section("curriculum", c.curriculum, "rows from easy to hard; absent = all rows from the start");
  f.field("assistant_only_loss", c.assistant_only_loss,
          "learn only what the assistant says; false learns every token of a conversation");
  f.choice("train_on_turns", c.train_on_turns,
           {{data::Turns::kAll, "all"}, {data::Turns::kLast, "last"}},
           "which of the assistant's turns are learned: all, or the last one of a conversation");
  f.field("label_smoothing_factor", c.label_smoothing_factor,
          "share of each target's probability that goes to the whole vocabulary; 0 = none",
          Bounds{.min = 0.0, .max = 1.0});
  describe(f, c.train);
  if (f.reading() && !c.assistant_only_loss && c.train_on_turns == data::Turns::kLast) {
    f.fail("train_on_turns", "got last with assistant_only_loss: false, want one of them");
  }
  if (f.reading() && c.curriculum && c.train.num_train_epochs) {
    f.fail("num_train_epochs",
           "got num_train_epochs with a curriculum, want curriculum.epochs_per_level or steps");
  }
}

}  // namespace limbic::sft

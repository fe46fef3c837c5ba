#include <algorithm>
#include <utility>

#include "trainer/base/error.h"
#include "trainer/engine/sharding/block_memory.h"
#include "trainer/engine/sharding/weight_store.h"
#include "trainer/model/block_keeper.h"
#include "trainer/parallel/collectives.h"

namespace limbic::engine {
namespace {

// Every gather needs all ranks, but ranks run passes as their data wants. So the ranks agree before
// each pass: the greatest wish of any of them is what all do next, those without it by following.
// Backward passes stay in step, because forward passes come first; the last one is known as such
// when no rank has more.
enum class Round { kNone = 0, kLastBackward = 1, kBackward = 2, kForward = 3 };

class ShardedWeights final : public WeightStore, public model::BlockKeeper {
 public:
  ShardedWeights(model::Decoder& decoder, const ShardGroups& groups, Courier& courier,
                 const FlatLayout& layout, std::function<void(std::size_t)> block_is_done)
      : decoder_(decoder),
        groups_(groups),
        courier_(courier),
        block_is_done_(std::move(block_is_done)),
        blocks_(layout.blocks().size()) {
    std::vector<at::Tensor> trained;
    for (const model::TrainedLeaf& leaf : decoder.trained_leaves()) trained.push_back(leaf.tensor);
    gathered_.push_back(std::make_unique<BlockMemory>(layout, trained, pool_));
    decoder_.refresh_compute();  // copies that follow leave the memory of before
    add_frozen(at::kFloat);
    if (decoder.compute() != at::kFloat) {
      add_frozen(decoder.compute());
      add_copies();
    }
    for (const auto& memory : gathered_) memory->keep_share(groups_.shards.rank());
    if (copies_) {
      for (std::size_t b = 0; b < blocks_; ++b) copies_->give(b);
    }
    pool_.clear();
    pieces_ = gathered_[0]->pieces();
    held_.assign(blocks_, false);
    decoder_.set_keeper(this);
    for (std::size_t b = 1; b + 1 < blocks_ && lowest_ == 0; ++b) {
      if (layout.blocks()[b].used > 0) lowest_ = b;
    }
    if (layout.blocks()[0].used > 0) lowest_ = 1;
  }
  ~ShardedWeights() override { decoder_.set_keeper(nullptr); }

  const std::vector<at::Tensor>& pieces() const override { return pieces_; }
  void updated() override {}
  void expect_backward(bool last) override { next_backward_is_last_ = last; }
  void give_back() override {
    end_passes();
    for (std::size_t block = 0; block < blocks_; ++block) {
      post(block);
      await(block);
    }
    decoder_.set_keeper(nullptr);
  }

  void begin_pass() override { begin(Round::kForward); }
  void begin_backward() override {
    begin(next_backward_is_last_ ? Round::kLastBackward : Round::kBackward);
  }
  bool follows_backward() const override { return true; }
  void enter(std::size_t block) override {
    check(entered_ < order_.size() && order_[entered_] == block,
          "blocks are entered in the order of the pass");
    ++entered_;
    post_up_to(entered_);
    await(block);
    post_up_to(entered_ + 1);  // the next one travels while this one computes
  }
  void leave(std::size_t block) override {
    if (block == 0 || block + 1 == blocks_) return;  // until the passes end
    drop(block);
    if (round_ == Round::kLastBackward) block_is_done_(block);
  }
  void end_passes() override {
    begin(Round::kNone);
    drop(0);
    drop(blocks_ - 1);
  }

 private:
  void add_frozen(at::ScalarType type) {
    std::vector<at::Tensor> tensors;
    std::vector<std::size_t> blocks;
    for (std::size_t b = 0; b < blocks_; ++b) {
      for (const at::Tensor& tensor : decoder_.frozen_tensors(b)) {
        if (tensor.scalar_type() != type) continue;
        tensors.push_back(tensor);
        blocks.push_back(b);
      }
    }
    if (tensors.empty()) return;
    const std::vector<FlatLayout::Leaf> leaves = leaves_of(tensors, blocks);
    gathered_.push_back(std::make_unique<BlockMemory>(
        FlatLayout(leaves, blocks_, groups_.shards.size(), kWholeBlocks), tensors, pool_));
  }
  // What `refresh_compute` fills.
  void add_copies() {
    std::vector<at::Tensor> tensors;
    std::vector<std::size_t> blocks;
    for (std::size_t b = 0; b < blocks_; ++b) {
      for (const at::Tensor& tensor : decoder_.compute_copies(b)) {
        tensors.push_back(tensor);
        blocks.push_back(b);
      }
    }
    if (tensors.empty()) return;
    const std::vector<FlatLayout::Leaf> leaves = leaves_of(tensors, blocks);
    copies_ =
        std::make_unique<BlockMemory>(FlatLayout(leaves, blocks_, 1, kWholeBlocks), tensors, pool_);
  }

  // Ends the round that goes on, then follows others until all do what this rank wants.
  void begin(Round wanted) {
    while (true) {
      finish_round();
      const Round next = agree(wanted);
      start_round(next);
      if (next == wanted || next == Round::kNone) return;
      // Passes of the same kind differ in what comes after them only.
      if (wanted == Round::kLastBackward && next == Round::kBackward) return;
    }
  }
  Round agree(Round wanted) {
    double next = 0.0;
    courier_.wait(courier_.post(
        [&] { next = parallel::max(groups_.world, {static_cast<double>(wanted)})[0]; }));
    return static_cast<Round>(static_cast<int>(next));
  }
  void start_round(Round round) {
    round_ = round;
    order_.clear();
    entered_ = posted_ = 0;
    if (round == Round::kForward) {
      for (std::size_t b = 0; b < blocks_; ++b) order_.push_back(b);
    } else if (round != Round::kNone) {
      check(lowest_ > 0, "a backward pass through layers trains one of them");
      for (std::size_t b = blocks_ - 2; b >= lowest_; --b) order_.push_back(b);
    }
  }
  // What of the round's blocks this rank does not read is gathered for the others.
  void finish_round() {
    if (entered_ > 0 && entered_ <= order_.size()) {
      const std::size_t block = order_[entered_ - 1];
      if (held_[block]) leave(block);
    }
    while (entered_ < order_.size()) {
      const std::size_t block = order_[entered_];
      enter(block);
      leave(block);
    }
    round_ = Round::kNone;
    order_.clear();
    entered_ = posted_ = 0;
  }

  void post_up_to(std::size_t count) {
    for (; posted_ < std::min(count, order_.size()); ++posted_) post(order_[posted_]);
  }
  void post(std::size_t block) {
    if (held_[block]) return;
    held_[block] = true;
    for (const auto& memory : gathered_) memory->take(block);
    arriving_[block] = courier_.post([this, block] {
      for (const auto& memory : gathered_) memory->gather(block, groups_.shards);
    });
  }
  void await(std::size_t block) {
    const auto arriving = arriving_.find(block);
    if (arriving == arriving_.end()) return;
    courier_.wait(arriving->second);
    arriving_.erase(arriving);
    if (copies_) copies_->take(block);
    decoder_.refresh_compute(block);
  }
  void drop(std::size_t block) {
    if (!held_[block]) return;
    await(block);
    held_[block] = false;
    for (const auto& memory : gathered_) memory->give(block);
    if (copies_) copies_->give(block);
  }

  static constexpr std::int64_t kWholeBlocks = std::int64_t{1} << 62;

  model::Decoder& decoder_;
  const ShardGroups& groups_;
  Courier& courier_;
  std::function<void(std::size_t)> block_is_done_;
  std::size_t blocks_;
  std::size_t lowest_ = 0;  // layer that a backward pass comes to
  StoragePool pool_;
  std::vector<std::unique_ptr<BlockMemory>> gathered_;  // the trained weights first
  std::unique_ptr<BlockMemory> copies_;                 // of trained weights in the compute type
  std::vector<at::Tensor> pieces_;
  bool next_backward_is_last_ = false;

  Round round_ = Round::kNone;
  std::vector<std::size_t> order_;        // blocks of the round
  std::size_t entered_ = 0, posted_ = 0;  // of them
  std::vector<bool> held_;                // has memory
  std::map<std::size_t, Courier::Ticket> arriving_;
};

}  // namespace

std::unique_ptr<WeightStore> make_sharded_weights(
    model::Decoder& decoder, const ShardGroups& groups, Courier& courier, const FlatLayout& layout,
    std::function<void(std::size_t block)> block_is_done) {
  return std::make_unique<ShardedWeights>(decoder, groups, courier, layout,
                                          std::move(block_is_done));
}

}  // namespace limbic::engine

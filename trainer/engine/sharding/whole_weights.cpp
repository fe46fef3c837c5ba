#include "trainer/engine/sharding/weight_store.h"
#include "trainer/model/block_keeper.h"

namespace limbic::engine {
namespace {

class WholeWeights final : public WeightStore, public model::BlockKeeper {
 public:
  WholeWeights(model::Decoder& decoder, const ShardGroups& groups, Courier& courier,
               const FlatLayout& layout, bool sharded)
      : decoder_(decoder),
        group_(groups.shards),
        courier_(courier),
        layout_(layout),
        sharded_(sharded),
        arriving_(layout.blocks().size()) {
    const at::NoGradGuard no_grad;
    flat_ = at::zeros({layout.padded()},
                      at::TensorOptions().dtype(at::kFloat).device(decoder.device()));
    std::size_t i = 0;
    for (const model::TrainedLeaf& leaf : decoder.trained_leaves()) {
      at::Tensor tensor = leaf.tensor;
      const std::int64_t begin = layout.begin_of(i++);
      const at::Tensor home = flat_.slice(0, begin, begin + tensor.numel()).view(tensor.sizes());
      home.copy_(tensor);
      tensor.set_data(home);
    }
    for (std::size_t b = 0; b < layout.buckets().size(); ++b) {
      pieces_.push_back(part(sharded ? layout.piece(b, group_.rank()) : layout.buckets()[b]));
    }
    decoder_.refresh_compute();
    if (sharded_) decoder_.set_keeper(this);
  }
  ~WholeWeights() override {
    if (sharded_) decoder_.set_keeper(nullptr);
  }

  const std::vector<at::Tensor>& pieces() const override { return pieces_; }
  void updated() override {
    if (sharded_) {
      stale_ = true;
    } else {
      decoder_.refresh_compute();
    }
  }
  // On every rank weights travel before gradients, whether the loss has seen the model or not.
  void expect_backward(bool) override { begin_pass(); }
  void give_back() override { end_passes(); }

  void begin_pass() override {
    if (!stale_) return;
    stale_ = false;
    for (std::size_t block = 0; block < arriving_.size(); ++block) {
      arriving_[block] = courier_.post([this, block] { gather(block); });
    }
  }
  void enter(std::size_t block) override {
    if (arriving_[block] == 0) return;
    courier_.wait(std::exchange(arriving_[block], 0));
    decoder_.refresh_compute(block);
  }
  void leave(std::size_t) override {}
  bool follows_backward() const override { return false; }
  void begin_backward() override {}
  void end_passes() override {
    begin_pass();
    for (std::size_t block = 0; block < arriving_.size(); ++block) enter(block);
  }

 private:
  at::Tensor part(const FlatLayout::Piece& piece) const {
    return flat_.slice(0, piece.begin, piece.begin + piece.size);
  }
  void gather(std::size_t index) {
    const FlatLayout::Block& block = layout_.blocks()[index];
    for (std::size_t b = block.first_bucket; b < block.last_bucket; ++b) {
      group_.all_gather(pieces_[b], part(layout_.buckets()[b]));
    }
  }

  model::Decoder& decoder_;
  parallel::Communicator& group_;
  Courier& courier_;
  const FlatLayout& layout_;
  bool sharded_;
  at::Tensor flat_;  // [padded]
  std::vector<at::Tensor> pieces_;
  bool stale_ = false;                     // the others' pieces are those of the step before
  std::vector<Courier::Ticket> arriving_;  // by block; 0 = it is here
};

}  // namespace

std::unique_ptr<WeightStore> make_whole_weights(model::Decoder& decoder, const ShardGroups& groups,
                                                Courier& courier, const FlatLayout& layout,
                                                bool sharded) {
  return std::make_unique<WholeWeights>(decoder, groups, courier, layout, sharded);
}

}  // namespace limbic::engine

// Where a rule cuts a text, and what becomes of the matches and of what lies between them.
// Source: the `behavior` of pre-tokenizers in tokenizer.json.
#pragma once

#include <cstdint>
#include <vector>

namespace limbic::data {

// Bytes [begin, end) of the text being cut.
struct Piece {
  std::uint32_t begin;
  std::uint32_t end;
};

// kMergedWithPrevious and kMergedWithNext join a match to the neighbour that is none; kContiguous
// joins neighbours that are both matches, or both none.
enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

// Takes the stretches of a text in order and appends its pieces to `out`; empty ones are left out.
class Joiner {
 public:
  Joiner(Behavior behavior, std::vector<Piece>& out) : behavior_(behavior), out_(out) {}

  void add(Piece stretch, bool is_match) {
    if (behavior_ == Behavior::kRemoved) {
      if (!is_match) keep(stretch);
      return;
    }
    if (any_ && joins(is_match)) {
      open_.end = stretch.end;
    } else {
      if (any_) keep(open_);
      open_ = stretch;
      any_ = true;
    }
    previous_ = is_match;
  }

  // To be called behind the last stretch.
  void finish() {
    if (any_) keep(open_);
    any_ = false;
  }

 private:
  bool joins(bool is_match) const {
    switch (behavior_) {
      case Behavior::kMergedWithPrevious:
        return is_match && !previous_;
      case Behavior::kMergedWithNext:
        return previous_ && !is_match;
      case Behavior::kContiguous:
        return is_match == previous_;
      default:
        return false;
    }
  }

  void keep(Piece piece) {
    if (piece.begin < piece.end) out_.push_back(piece);
  }

  Behavior behavior_;
  std::vector<Piece>& out_;
  Piece open_{};
  bool any_ = false;
  bool previous_ = false;
};

}  // namespace limbic::data

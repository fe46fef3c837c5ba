// What one rendering may use. A template is a program from a model folder, so a broken or hostile
// one has to end by itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace limbic::data::jinja {

// An error of a template without its place; the renderer adds FILE:LINE.
class TemplateError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline constexpr std::uint64_t kMaxSteps = 10'000'000;     // evaluated expressions and statements
inline constexpr std::size_t kMaxTextBytes = 64ULL << 20;  // the output, and every single string
inline constexpr int kMaxDepth = 200;                      // nested blocks, calls and values
inline constexpr int kMaxFrames = 2000;                    // nested evaluations of any kind

class Budget {
 public:
  void step(std::uint64_t count = 1) {
    steps_ += count;
    if (steps_ > kMaxSteps) {
      throw TemplateError("the template needs more than 10 M evaluation steps (limit)");
    }
  }

  // Building or reading a text of this size; counted so that long strings cost steps too.
  void text(std::size_t bytes) {
    if (bytes > kMaxTextBytes) {
      throw TemplateError("the template makes a text of more than 64 MB (limit)");
    }
    step(bytes / 64);
  }

 private:
  std::uint64_t steps_ = 0;
};

// Counts nesting for as long as it lives.
class DepthGuard {
 public:
  explicit DepthGuard(int& depth, int limit = kMaxDepth) : depth_(depth) {
    if (depth_ >= limit) throw TemplateError(message());
    ++depth_;
  }
  ~DepthGuard() { --depth_; }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;

  static const char* message() { return "the template nests deeper than 200 levels (limit)"; }

 private:
  int& depth_;
};

}  // namespace limbic::data::jinja

#include "tests/support/nccl/double_rank.h"

#include <dlfcn.h>

#include <stdexcept>

#include "trainer/parallel/nccl/nccl_communicator.h"

namespace limbic::test {
namespace {

template <class Function>
void find(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  if (function == nullptr) throw std::runtime_error(std::string("the double has no ") + name);
}

NcclDouble load_double() {
  void* library = dlopen(LIMBIC_NCCL_DOUBLE, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(dlerror());
  NcclDouble out{};
  find(library, "limbic_double_make_stream", out.make_stream);
  find(library, "limbic_double_free_stream", out.free_stream);
  find(library, "limbic_double_stream_done", out.stream_done);
  find(library, "limbic_double_set_fault", out.set_fault);
  find(library, "limbic_double_counts", out.counts);
  return out;
}

// What is computed on the CPU is done when the call returns: there is nothing to follow.
class DoubleQueue final : public device::Queue {
 public:
  ~DoubleQueue() override { nccl_double().free_stream(stream_); }
  void* handle() const override { return stream_; }
  void follow() override {}
  bool done() override { return nccl_double().stream_done(stream_) != 0; }

 private:
  void* stream_ = nccl_double().make_stream();
};

}  // namespace

const NcclDouble& nccl_double() {
  static const NcclDouble loaded = load_double();
  return loaded;
}

std::unique_ptr<parallel::Communicator> make_double_rank(parallel::Communicator& control,
                                                         double timeout_s, at::Device device) {
  static const parallel::nccl::Library library = parallel::nccl::load(LIMBIC_NCCL_DOUBLE);
  return parallel::make_nccl(control, library.table,
                             {.device = device, .queue = std::make_unique<DoubleQueue>()},
                             timeout_s);
}

}  // namespace limbic::test

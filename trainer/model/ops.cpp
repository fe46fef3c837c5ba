#include "trainer/model/ops.h"

#include "trainer/model/reference_ops.h"

namespace limbic::model {

const Operations& operations(Math math) {
  static constexpr Operations kKernels = {add_rms_norm, swiglu, geglu, packed_attention,
                                          token_logprobs};
  static constexpr Operations kAten = {reference::add_rms_norm, reference::swiglu, reference::geglu,
                                       reference::packed_attention, reference::token_logprobs};
  return math == Math::kKernels ? kKernels : kAten;
}

}  // namespace limbic::model

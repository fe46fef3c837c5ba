// The numbers of make_golden.py.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "trainer/base/fields.h"
#include "trainer/base/file.h"

namespace limbic::optim {

inline Json golden(const char* section) {
  return Json::parse(read_file(LIMBIC_SOURCE_DIR "/tests/unit/optim/golden.json")).at(section);
}

inline at::Tensor floats(const Json& list) {
  const auto values = list.get<std::vector<double>>();
  return at::tensor(values, at::TensorOptions().dtype(at::kDouble)).to(at::kFloat);
}

}  // namespace limbic::optim

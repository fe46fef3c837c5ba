// The one precompiled header of all targets that use torch. Nothing of ours but JSON belongs here,
// and nothing that few files need: the templates that a header leaves to be instantiated are so in
// every file that is compiled with it (a second each for torch's autograd functions).
#pragma once
// clang-format off
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include "trainer/base/json.h"
// clang-format on

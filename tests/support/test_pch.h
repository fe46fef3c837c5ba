// The precompiled header of the tests that do not use torch.
#pragma once
// clang-format off
#include "trainer/base/base_pch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
// clang-format on

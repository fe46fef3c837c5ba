// Gives the precompiled header a translation unit of its own.
#include "trainer/tensor/torch_pch.h"

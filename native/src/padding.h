// Padding and alignment of buffers. Both are the same for every instruction set, so that the layout of a buffer does
// not depend on which kernels fill it.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace ds2 {

constexpr int32_t kMaxLanes = 16;    // floats in the widest vector of any instruction set
constexpr size_t kCacheLine = 64;    // bytes

/// n rounded up to a multiple of the widest vector.
constexpr size_t padded(size_t n) { return (n + kMaxLanes - 1) / kMaxLanes * kMaxLanes; }

}  // namespace ds2

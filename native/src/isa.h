// Which of the kernels that were compiled for several instruction sets this processor runs.
#pragma once

namespace ds2 {
enum class Isa { base, avx2, avx512, avx512bf16 };

/// The best one, or the lesser one that DS2_NATIVE_ISA names; avx512bf16 only where bfloat16 products are asked for.
Isa best_isa(bool bfloat16);
}  // namespace ds2

// Selects, at run time, which of the compiled instruction sets this processor uses.
#pragma once

namespace ds2 {
enum class Isa { base, avx2, avx512, avx512bf16 };

/// The best instruction set that this processor supports and DS2_NATIVE_ISA allows. avx512bf16 is returned only if
/// `bfloat16` products are requested.
Isa best_isa(bool bfloat16);

/// Whether the processor adds products of 16-bit integers in one instruction (AVX512-VNNI), and DS2_NATIVE_ISA allows
/// more than avx512.
bool has_vnni();
}  // namespace ds2

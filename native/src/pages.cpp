#include "pages.h"

#include <cstdint>
#if defined(__linux__)
#include <sys/mman.h>
#endif

void ds2::prefer_large_pages(void *begin, size_t bytes) noexcept {
#if defined(MADV_HUGEPAGE)
  constexpr uintptr_t kLarge = uintptr_t{1} << 21;
  const uintptr_t from = (reinterpret_cast<uintptr_t>(begin) + kLarge - 1) / kLarge * kLarge;
  const uintptr_t to = (reinterpret_cast<uintptr_t>(begin) + bytes) / kLarge * kLarge;
  if (to > from && to - from >= 2 * kLarge) madvise(reinterpret_cast<void *>(from), to - from, MADV_HUGEPAGE);
#else
  (void)begin, (void)bytes;
#endif
}

// Transparent huge pages for large buffers.
#pragma once
#include <stddef.h>

namespace ds2 {
/// Advise the kernel to back a buffer with huge pages before it is first written: faulting it in 4 KiB at a time takes
/// longer than filling it. Only a hint: small buffers, pages already mapped and systems without it are left alone.
void advise_huge_pages(void *begin, size_t bytes) noexcept;
}  // namespace ds2

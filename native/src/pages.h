// Large buffers on large pages.
#pragma once
#include <stddef.h>

namespace ds2 {
/// Ask for large pages where a buffer that is about to be written has none yet: meeting it 4 KiB at a time takes longer than
/// filling it. A hint; does nothing to small buffers, to pages already in use and on systems without it.
void prefer_large_pages(void *begin, size_t bytes) noexcept;
}  // namespace ds2

// Functions of libm that glibc 2.29 gave a new version, without the handling of errors of SVID, which is not used here.
// The version from before is the same computation, and keeps the library usable with every glibc since 2.14.
#pragma once
#include <math.h>

#if defined(__GLIBC__) && defined(__x86_64__)
__asm__(".symver log, log@GLIBC_2.2.5");
#endif

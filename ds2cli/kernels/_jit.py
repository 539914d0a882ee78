"""The one place that decides how kernels are compiled."""

from __future__ import annotations

import numba

# No fastmath: -inf is a value here (an impossible path), and results must not depend on the compiler's reassociation.
kernel = numba.njit(cache=True, nogil=True, fastmath=False)

"""Call kernels that return arrays so that Ctrl-C and SIGTERM cannot break them.

In the main thread Python calls the handler of a signal as soon as a kernel has returned, which is while numba makes
Python objects of its arrays. If the handler raises there, the process ends with a SystemError or a crash. So the kernel
runs in a thread of its own, and the main thread, which waits for it, handles the signal at once.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

R = TypeVar("R")


def run_apart(function: Callable[..., R], *arguments: Any) -> R:
    """What `function(*arguments)` returns; called in another thread if this is the main one."""
    if threading.current_thread() is not threading.main_thread():
        return function(*arguments)
    return _worker().submit(function, *arguments).result()


@cache
def _worker() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1)


# a forked process has no threads but its own
os.register_at_fork(after_in_child=_worker.cache_clear)

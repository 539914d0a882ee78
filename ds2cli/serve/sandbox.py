"""Limits of a process that handles untrusted files: memory, CPU time, files, network.

Memory, time and the size of files are limited everywhere; Linux (5.13 and later) also denies it every file and address.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

PRIORITY = 10
"""Nice value of work that live streams must not wait for."""

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_VERSION = 1
# access rights that each version of Landlock added: include/uapi/linux/landlock.h
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_NET_RIGHTS = {4: 3}


@dataclass(frozen=True)
class Limits:
    """memory: bytes in addition to what the process has.  cpu_s, wall_s: seconds.  file: bytes of a file."""

    memory: int
    cpu_s: int
    wall_s: float
    file: int


def enter(limits: Limits) -> None:
    """Limit this process for good. On Linux it ends with its parent.

    Past `cpu_s` SIGXCPU ends it, past `wall_s` SIGALRM.
    """
    os.nice(PRIORITY)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (_used_bytes() + limits.memory,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file, limits.file))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, max(limits.wall_s, 0.01))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _deny_files(libc)


def _used_bytes() -> int:
    """Address space in use; OSError where it is not known."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()


def _deny_files(libc: ctypes.CDLL) -> bool:
    """Deny this process to open, make or remove files, and to use TCP; whether this kernel can."""
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_VERSION))
    if version < 1:
        return False
    files = sum(bits for since, bits in _FILE_RIGHTS.items() if since <= version)
    net = sum(bits for since, bits in _NET_RIGHTS.items() if since <= version)
    rules = struct.pack("QQ", files, net)[: 8 if version < 4 else 16]
    ruleset = libc.syscall(_CREATE_RULESET, rules, ctypes.c_size_t(len(rules)), ctypes.c_uint(0))
    if ruleset < 0:
        return False
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    denied = libc.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint(0)) == 0
    os.close(ruleset)
    return bool(denied)

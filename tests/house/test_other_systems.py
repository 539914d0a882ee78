"""What only Linux has is used where it is there: the commands also run without it, as on macOS."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# functions and constants that macOS lacks, Linux's folders, and the native library
WITHOUT_LINUX = """
import errno, fcntl, mmap, os, select, signal, socket, time
LACKING = {
    os: ("sched_getaffinity sched_setaffinity posix_fadvise posix_fallocate fdatasync O_TMPFILE O_DIRECT memfd_create "
         "eventfd pidfd_open copy_file_range splice pipe2 getrandom setxattr getxattr"),
    fcntl: "F_SETPIPE_SZ F_GETPIPE_SZ F_OFD_SETLK F_ADD_SEALS",
    mmap: "MAP_POPULATE MADV_HUGEPAGE MADV_DONTFORK",
    select: "epoll",
    signal: "sigwaitinfo sigtimedwait SIGRTMIN SIGPWR",
    socket: "SOCK_CLOEXEC SOCK_NONBLOCK",
    time: "CLOCK_BOOTTIME pthread_getcpuclockid",
}
for module, names in LACKING.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
def refuse(event, arguments):
    if event == "open" and str(arguments[0]).startswith(("/proc/", "/sys/")):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", arguments[0])
sys.addaudithook(refuse)
os.environ["DS2_NATIVE_LIB"] = "/nowhere/libds2native.dylib"
"""


def test_the_commands_run_without_what_only_linux_has(failures):
    assert failures(WITHOUT_LINUX) == {}


def test_on_windows_the_program_says_what_to_do():
    code = "import sys; sys.platform = 'win32'; from ds2cli.__main__ import run; sys.argv[1:] = ['--help']; run()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "ds2: needs Linux or macOS: on Windows, install and run it in WSL (wsl --install)\n"

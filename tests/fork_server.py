"""Runs `ds2` in processes forked from one that has imported ds2cli, torch and the other packages, which takes seconds.

Each command has its own process, arguments, folder, environment and standard streams, and ends as `python -m ds2cli`
does. A packet on the Unix socket whose descriptor is argv[1] starts one: [arguments, folder, environment] as JSON, with
its three standard streams. The answer is two lines: its process id, then its status.
"""

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
import traceback
from pathlib import Path

PACKAGES = (
    *("torch", "torch.optim", "torch.utils.data", "torch.distributed", "torch.nn.utils.parametrize"),
    *("numba", "scipy.signal", "scipy.special", "soundfile", "av", "soxr", "safetensors.torch", "sentencepiece"),
    *("typer", "rich", "tomli_w", "num2words", "matplotlib.figure", "matplotlib.backends.backend_agg"),
)
READ_AT_IMPORT = ("NUMBA", "OMP_", "MKL_", "KMP_", "PYTHON", "TORCH", "MPL", "CUDA", "LD_", "XDG_", "HOME")
"""Prefixes of variables that these modules read when imported: with other values, a command needs a new process."""


class ForkServer:
    """Starts the server on the first command; close() ends it.

    with_ds2cli: whether it imports ds2cli, too. Plugins are found when ds2cli is imported: a command with other plugins
    needs a server without it.
    """

    def __init__(self, root: Path, *, with_ds2cli: bool = True) -> None:
        self.root = root
        self.with_ds2cli = with_ds2cli
        self.env = {**os.environ, "PYTHONPATH": str(root)}
        self.process: subprocess.Popen[bytes] | None = None

    def serves(self, env: dict[str, str]) -> bool:
        """Whether the packages would be imported the same way with these environment variables."""
        return _at_import(env) == _at_import(self.env)

    def run(self, args: list[str], stdin: str | None, cwd: str, timeout: float, env: dict[str, str]):
        """Like subprocess.run of `python -m ds2cli ARGS`, with its output as text."""
        if self.process is None:
            self._start()
        ends = [os.pipe() for _ in range(3)]
        theirs, ours = [ends[0][0], ends[1][1], ends[2][1]], [ends[0][1], ends[1][0], ends[2][0]]
        message = json.dumps([args, cwd, env]).encode()
        # Linux limits a packet to the size of the send buffer, about 200 kB
        socket.send_fds(self.socket, [message], theirs)
        for fd in theirs:
            os.close(fd)
        pid = int(self.answers.readline())
        read: dict[int, bytes] = {}
        threads = [threading.Thread(target=_write, args=(ours[0], stdin), daemon=True)]
        threads += [threading.Thread(target=_read, args=(fd, read), daemon=True) for fd in ours[1:]]
        killer = threading.Timer(timeout, os.kill, (pid, signal.SIGKILL))
        for thread in (*threads, killer):
            thread.start()
        try:
            status = int(self.answers.readline())
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            self.close()
            raise
        late = not killer.is_alive()
        killer.cancel()
        for thread in threads:
            thread.join(timeout)
        if late:
            raise subprocess.TimeoutExpired(["ds2", *args], timeout)
        out, err = (read.get(fd, b"").decode().replace("\r\n", "\n").replace("\r", "\n") for fd in ours[1:])
        return subprocess.CompletedProcess(["ds2", *args], status, out, err)

    def close(self) -> None:
        """End the server."""
        if self.process is not None:
            self.socket.close()
            self.answers.close()
            self.process.wait()
            self.process = None

    def _start(self) -> None:
        self.socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        fd = other.fileno()
        command = [sys.executable, __file__, str(fd), *["with-ds2cli"] * self.with_ds2cli]
        self.process = subprocess.Popen(command, pass_fds=[fd], env=self.env, stdout=subprocess.PIPE)
        other.close()
        self.answers = self.process.stdout


def _at_import(env: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(READ_AT_IMPORT)}


def _write(fd: int, text: str | None) -> None:
    with contextlib.suppress(BrokenPipeError), os.fdopen(fd, "wb") as f:
        f.write((text or "").encode())


def _read(fd: int, read: dict[int, bytes]) -> None:
    with os.fdopen(fd, "rb") as f:
        read[fd] = f.read()


def serve(fd: int, with_ds2cli: bool) -> list[str] | None:
    """Fork for each packet; return the arguments in the new process, and None in the server when the socket closes."""
    commands = socket.socket(fileno=fd)
    commands.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    from numba.core.registry import cpu_target

    for package in PACKAGES:
        importlib.import_module(package)
    if with_ds2cli:
        for module in pkgutil.walk_packages(importlib.import_module("ds2cli").__path__, "ds2cli."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    # as numba's first call does, for half a second
    for context in (cpu_target.target_context, cpu_target.typing_context):
        context.refresh()
    # the collector would touch, and so copy, every object of the packages in each process
    gc.collect()
    gc.freeze()
    while True:
        message, streams, _, _ = socket.recv_fds(commands, 1 << 20, 3)
        if not message:
            return None
        pid = os.fork()
        if pid == 0:
            commands.close()
            args, cwd, env = json.loads(message)
            for target, stream in enumerate(streams):
                os.dup2(stream, target)
                os.close(stream)
            os.chdir(cwd)
            os.environ.clear()
            os.environ.update(env)
            # as after `python -m`: the folder, then PYTHONPATH
            sys.path[0] = cwd
            return args
        for stream in streams:
            os.close(stream)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def run(args: list[str]) -> None:
    """Run `python -m ds2cli ARGS`, which ends this process."""
    sys.argv = ["ds2cli", *args]
    try:
        runpy.run_module("ds2cli", run_name="__main__", alter_sys=True)
    except BaseException:
        traceback.print_exc()
    os._exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    arguments = serve(int(sys.argv[1]), "with-ds2cli" in sys.argv[2:])
    if arguments is not None:
        run(arguments)

"""Run every check and benchmark that needs a GPU, and write the tables of native/bench/RESULTS.md: `make gpu`.

Parts run one after another, each with a time limit; with the set-up that is at most eight minutes. A table is replaced
once its benchmark has ended well, and the file is replaced as a whole, so an interrupted run leaves complete tables.
Without a GPU every part says what is missing and runs what the CPU can run of it; RESULTS.md then stays as it is.
Logs are kept in build/gpu. Exit status 0 if everything that could run succeeded.

For a machine without network that has torch, numpy, scipy and numba but not this project's other packages: run
`make gpu-wheels` on another, copy the checkout with its folder .wheels, and run `make gpu` there. Python packages are
then installed into build/gpu/site, and the native libraries are built if there are none.

    PYTHONPATH=. python native/gpu.py [--only ctc_check ctc_bench train_bench tests] [--slow 2]
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ds2cli.cores import count_cores
from ds2cli.io import open_out

ROOT = Path(__file__).resolve().parents[1]
WORK, WHEELS = ROOT / "build" / "gpu", ROOT / ".wheels"
SITE = WORK / "site"
RESULTS = ROOT / "native" / "bench" / "RESULTS.md"
TOTAL_S, INSTALL_S, PROBE_S, BUILD_S = 470.0, 40.0, 25.0, 80.0
"""Limits: of everything, of the packages, of finding out what is there (twice, with a build), and of the build."""
CPU_S = 900.0
"""Limit of what the CPU runs of a part where there is no GPU."""

PROBE = """
import json, torch
from ds2cli import native
gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
names = [torch.cuda.get_device_name(i) for i in range(gpus)]
libraries = {name: native.unavailable_reason(name) for name in ("cpu", "cuda")}
print(json.dumps({"torch": torch.__version__, "gpus": names, "libraries": libraries}))
"""
"""What is on this machine, found by a new process after packages and libraries have been installed."""

PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default"]
PROCESSES = ["-n", "4", "--dist", "worksteal"] if importlib.util.find_spec("xdist") and count_cores() >= 8 else []
CUDA_TESTS = ["tests/nn/rnn/test_cudnn.py", "tests/cli/test_train_device.py"]
TINY = ["--networks", "egs/asterisk/conf/gru.toml", "--utterances", "2", "--seconds", "1", "--steps", "1"]

NAMES = {"torch": "torch", "gpu": "a GPU", "library": "the CUDA library", "packages": "packages"}
"""What a part can wait for, as it is printed."""


@dataclass(frozen=True)
class Part:
    """A check or a benchmark.

    needs: names of what must be there besides torch: gpu, library (the CUDA kernels), packages. seconds: its limit.
    cpu: what of it runs without a GPU, () if nothing does. table: whether its output is a table of RESULTS.md.
    """

    title: str
    command: list[str]
    needs: tuple[str, ...]
    seconds: float
    cpu: tuple[str, ...] = ()
    table: bool = False


# the tests last: if time runs out, the tables are written
PARTS = {
    "ctc_check": Part(
        "CTC kernels compared with the formulas",
        [sys.executable, "native/tests/ctc_cuda_check.py"],
        ("gpu", "library"),
        40,
        cpu=(*PYTEST, "tests/native/test_ctc_cuda_host.py", "tests/native/test_ctc_cuda_calls.py"),
    ),
    "ctc_bench": Part(
        "CTC compared with torch and cuDNN",
        [sys.executable, "native/bench/bench_ctc_cuda.py", "--seconds", "0.5"],
        ("gpu", "library"),
        80,
        table=True,
    ),
    "train_bench": Part(
        "training steps of the paper's networks",
        [sys.executable, "native/bench/bench_train_cuda.py"],
        ("gpu", "library", "packages"),
        90,
        cpu=(sys.executable, "native/bench/bench_train_cuda.py", "--device", "cpu", "--precision", "float32", *TINY),
        table=True,
    ),
    "tests": Part(
        "tests that train, resume and decode on the device",
        [*PYTEST, *PROCESSES, "-m", "cuda", *CUDA_TESTS],
        ("gpu", "packages"),
        90,
        cpu=(*PYTEST, *CUDA_TESTS),
    ),
}


def say(text: str) -> None:
    """Print a line now."""
    print(f"gpu: {text}", flush=True)


def run(command: list[str], seconds: float, log: Path) -> int | None:
    """Run a command with its output in a file; its exit status, or None if it took longer and was killed.

    Its child processes are killed with it, also when this process is interrupted.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, SITE))), "PYTHONUNBUFFERED": "1"}
    with log.open("w") as f:
        # a signal while it starts would leave it running
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        unblock = functools.partial(signal.pthread_sigmask, signal.SIG_SETMASK, before)
        try:
            child = subprocess.Popen(
                command, cwd=ROOT, env=env, stdout=f, stderr=f, start_new_session=True, preexec_fn=unblock
            )
        except BaseException:
            unblock()
            raise
        try:
            unblock()
            return child.wait(max(seconds, 0.1))
        except subprocess.TimeoutExpired:
            return None
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def find_missing_packages() -> list[str]:
    """The dependencies of this package, and pytest, that are not installed."""
    with (ROOT / "pyproject.toml").open("rb") as f:
        requirements = tomllib.load(f)["project"]["dependencies"]
    names = [re.split(r"[<>=!~ ;\[]", text)[0] for text in [*requirements, "pytest"]]
    return [name for name in names if not is_installed(name)]


def is_installed(name: str) -> bool:
    """Whether this Python, or the folder SITE, has a distribution of this name."""
    wanted = re.sub(r"[-_.]+", "-", name).lower()
    found = importlib.metadata.distributions(path=[*sys.path, str(SITE)])
    return any(re.sub(r"[-_.]+", "-", d.metadata["Name"] or "").lower() == wanted for d in found)


def install_wheels(seconds: float) -> None:
    """Install the wheels in .wheels that this Python lacks into SITE."""
    wheels = [str(w) for w in sorted(WHEELS.glob("*.whl")) if not is_installed(w.name.partition("-")[0])]
    if wheels:
        say(f"installing {len(wheels)} packages from {WHEELS.name}")
        options = ["--no-index", "--no-deps", "--no-compile", "--target", str(SITE)]
        if run([sys.executable, "-m", "pip", "install", "-q", *options, *wheels], seconds, WORK / "pip.log") != 0:
            say(f"the packages could not be installed: {last_lines(WORK / 'pip.log', 1)}")


def build_libraries(seconds: float) -> None:
    """Build the native libraries and install them into the checkout's package."""
    folder, cores = str(WORK / "native"), str(count_cores())
    say("building the native libraries")
    for command in (
        ["cmake", "-S", "native", "-B", folder],
        ["cmake", "--build", folder, "-j", cores],
        ["cmake", "--install", folder, "--prefix", str(ROOT)],
    ):
        start = time.monotonic()
        if not shutil.which("cmake") or run(command, seconds, WORK / "build.log") != 0:
            say(f"not built: {last_lines(WORK / 'build.log', 1) if shutil.which('cmake') else 'no cmake'}")
            return
        seconds -= time.monotonic() - start


def probe(seconds: float) -> dict[str, Any]:
    """The version of torch, the GPUs, and why a library cannot be used; without torch only `error`."""
    log = WORK / "probe.log"
    if run([sys.executable, "-c", PROBE], seconds, log) == 0:
        # libraries may print warnings before and after it
        return dict(json.loads([line for line in log.read_text().splitlines() if line.startswith("{")][-1]))
    return {"error": last_lines(log, 1) or f"it was not loaded within {seconds:.0f} s"}


def last_lines(log: Path, count: int) -> str:
    """The last lines of a log that are not empty."""
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return "\n".join(lines[-count:])


def find_obstacles(found: dict[str, Any]) -> dict[str, str]:
    """Why each thing that parts need is not there: its name and the reason, with the fix."""
    missing, torch = find_missing_packages(), f"torch {found.get('torch')}"
    obstacles = {}
    if "error" in found:
        return {"torch": f"torch cannot be used: {found['error']} (GPU_PYTHON=python3 selects another Python)"}
    if not found["gpus"]:
        obstacles["gpu"] = f"{torch} finds no GPU (GPU_PYTHON=python3 selects another Python)"
    if reason := found["libraries"]["cuda"]:
        obstacles["library"] = reason if shutil.which("nvcc") else f"{reason}; there is no nvcc on the PATH"
    if missing:
        fix = "on a machine with network: make gpu-wheels; its GPU_WHEELS names the packages"
        obstacles["packages"] = f"missing packages: {', '.join(missing)} ({fix})"
    return obstacles


def write_table(name: str, text: str) -> None:
    """Replace what is between the markers of a table in RESULTS.md; the file changes as a whole or not at all."""
    begin, end = f"<!-- make gpu: {name} -->\n", "<!-- end -->\n"
    before, found, rest = RESULTS.read_text("utf-8").partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise SystemExit(f"{RESULTS}: expected the lines {begin.strip()} and {end.strip()} around the table")
    with open_out(str(RESULTS)) as f:
        f.write(f"{before}{begin}{text.strip()}\n{end}{after}")


def format_table(part: Part, output: str) -> str:
    """The text of a benchmark's section: the command, then its output, whose first line names the device."""
    words = shlex.join(["python", *part.command[1:]])
    return f"Measured by `make gpu`, {time.strftime('%Y-%m-%d')}: `{words}`\n\n{output.strip()}\n"


def run_part(name: str, obstacles: dict[str, str], seconds: float, slow: float) -> str:
    """Run a part, or what the CPU can run of it; returns how it ended: "ok …", "failed …", or what it waits for."""
    part, log = PARTS[name], WORK / f"{name}.log"
    missing = [need for need in ("torch", *part.needs) if need in obstacles]
    waits = " and ".join(NAMES[need] for need in missing)
    for need in missing:
        say(f"{name}: {obstacles[need]}")
    if {"torch", "packages"}.intersection(missing) or (missing and not part.cpu):
        return f"waits for {waits}: nothing of it runs here"
    command = list(part.cpu) if missing else part.command
    limit = CPU_S if missing else min(part.seconds * slow, seconds)
    if limit <= 1:
        return "failed: no time is left (--slow 2 gives all parts twice the time, --only runs some of them)"
    say(f"{name}: {part.title}{', on the CPU' if missing else ''} (at most {limit:.0f} s) ...")
    status = run(command, limit, log)
    if status is None:
        return f"failed: stopped after {limit:.0f} s (--slow 2 gives twice the time); see {log.relative_to(ROOT)}"
    if status != 0:
        print(last_lines(log, 12), flush=True)
        return f"failed: exit status {status}; see {log.relative_to(ROOT)}"
    if missing:
        done = "its code ran" if part.table else last_lines(log, 1)
        return f"waits for {waits}; on the CPU: {done}"
    output = log.read_text("utf-8")
    print(output if part.table else last_lines(log, 1), flush=True)
    if part.table and "\n|" not in output:
        return f"failed: no table in {log.relative_to(ROOT)}: {last_lines(log, 1)}"
    if part.table:
        write_table(name, format_table(part, output))
        return f"ok: table written to {RESULTS.relative_to(ROOT)}"
    return f"{'ok' if 'passed' in last_lines(log, 1) else 'failed'}: {last_lines(log, 1)}"


def main() -> int:
    """Run the parts and print how each ended; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run")
    parser.add_argument("--slow", type=float, default=1.0, metavar="FACTOR", help="multiply all time limits")
    options = parser.parse_args()
    # as for Ctrl-C: running commands are killed on the way out
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    start, ends = time.monotonic(), dict[str, str]()
    install_wheels(INSTALL_S * options.slow)
    found = probe(PROBE_S * options.slow)
    libraries = found.get("libraries", {"cpu": "", "cuda": ""})
    if libraries["cpu"] or (libraries["cuda"] and shutil.which("nvcc")):
        build_libraries(BUILD_S * options.slow)
        found = probe(PROBE_S * options.slow)
    obstacles = find_obstacles(found)
    on_gpu = not {"torch", "gpu"}.intersection(obstacles)
    if on_gpu:
        say(f"{', '.join(found['gpus'])}, torch {found['torch']}, Python {sys.version.split()[0]}")
    for name in options.only:
        part_start = time.monotonic()
        left = TOTAL_S * options.slow - (part_start - start)
        ends[name] = f"{run_part(name, obstacles, left, options.slow)} ({time.monotonic() - part_start:.0f} s)"
    if on_gpu and len(ends) == len(PARTS):
        head = f"{found['gpus'][0]}, torch {found['torch']}\n\n| part | result |\n|:--|:--|\n"
        write_table("checks", head + "".join(f"| {name} | {end} |\n" for name, end in ends.items()))
    print(flush=True)
    for name, end in ends.items():
        say(f"{name}: {end}")
    tables = "" if on_gpu else f"; {RESULTS.relative_to(ROOT)} is as it was"
    say(f"{time.monotonic() - start:.0f} s in all{tables}")
    return int(any(end.startswith("failed") for end in ends.values()))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("interrupted; the tables of RESULTS.md are complete, those of parts that have ended are new")
        sys.exit(130)

"""`make fuzz MINUTES=30`: run all fuzzers on random inputs, round after round, until the time is over.

Each round is a run of pytest with a seed of its own, so that a crash or a hang costs one fuzzer of one round. What
failed is kept in build/fuzz with the command that shows it again. Exit status 1 if anything failed.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
KEPT = ROOT / "build" / "fuzz"
FIRST_EXAMPLES, MOST_EXAMPLES = 25, 400
"""Inputs of each fuzzer in the first round and at most: a round should last some minutes."""
LONGEST_ROUND_S = 1800


def main():
    parser = argparse.ArgumentParser(description="Run all fuzzers on random inputs until the time is over.")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long; the last round may end later")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--seed", type=int, default=None, help="of the first round [default: random]")
    parser.add_argument("-k", dest="only", default="", help="only fuzzers of these names, as pytest selects them")
    options = parser.parse_args()
    # ends the round, too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    KEPT.mkdir(parents=True, exist_ok=True)
    seed = random.SystemRandom().randrange(1 << 31) if options.seed is None else options.seed
    print(
        f"fuzz: {options.minutes:g} min, first seed {seed}; what fails is kept in {KEPT.relative_to(ROOT)}", flush=True
    )
    start, tried, failures, examples = time.monotonic(), Counter(), Counter(), FIRST_EXAMPLES
    end, number = start + 60 * options.minutes, 0
    while time.monotonic() < end:
        number += 1
        began = time.monotonic()
        counts, failed = run_round(seed, examples, options)
        tried.update(counts)
        failures.update(failed)
        seconds = time.monotonic() - began
        left = end - time.monotonic()
        print(
            f"round {number}: seed {seed}, {counts.total():,} inputs, {len(failed)} failures, {seconds:.0f} s, "
            f"{max(0, left) / 60:.1f} min left",
            flush=True,
        )
        if not counts:
            print("fuzz: no fuzzer ran", file=sys.stderr)
            sys.exit(1)
        fits = int(examples * max(left, 0) / seconds)
        examples = max(10, min(2 * examples, MOST_EXAMPLES, fits))
        seed += 1
    for name, count in sorted(tried.items()):
        print(f"{count:>9,}  {name}")
    for name, count in sorted(failures.items()):
        print(f"FAILED in {count} of {number} rounds: {name}")
    minutes = (time.monotonic() - start) / 60
    print(
        f"fuzz: {tried.total():,} inputs of {len(tried)} fuzzers in {minutes:.1f} min, {len(failures)} fuzzers failed"
    )
    sys.exit(1 if failures else 0)


def run_round(seed, examples, options):
    """Run every fuzzer once: the inputs that each tried, and the names of those that failed."""
    with tempfile.TemporaryDirectory(prefix="ds2-fuzz-") as counts:
        env = {**os.environ, "DS2_FUZZ_EXAMPLES": str(examples), "DS2_FUZZ_COUNTS": counts}
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"]
        command += ["-n", str(options.jobs), "--dist", "worksteal", f"--hypothesis-seed={seed}"]
        command += ["-k", options.only, str(FOLDER.relative_to(ROOT))]
        child = subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            output = child.communicate(timeout=LONGEST_ROUND_S)[0].decode("utf-8", "replace")
        except BaseException as e:
            os.killpg(child.pid, signal.SIGKILL)
            output = child.communicate()[0].decode("utf-8", "replace")
            if not isinstance(e, subprocess.TimeoutExpired):
                raise
            output += f"\nFAILED the round did not end within {LONGEST_ROUND_S} s\n"
        tried = Counter()
        for file in Path(counts).glob("*.json"):
            tried.update(json.loads(file.read_text()))
    failed = find_failures(output, child.returncode)
    if failed:
        log = KEPT / f"seed-{seed}.txt"
        again = f"DS2_FUZZ_EXAMPLES={examples} {sys.executable} -m pytest -n 0 --hypothesis-seed={seed}"
        commands = "".join(f"{again} {name!r}\n" for name in failed)
        log.write_text(commands + output)
        for name in failed:
            print(f"FAILED {name}: {again} {name!r} (see {log.relative_to(ROOT)})", flush=True)
    return tried, failed


def find_failures(output, status):
    """The tests that failed, from the output and the exit status of pytest."""
    failed = sorted(set(re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE)))
    return failed or ([f"pytest, exit status {status}"] if status else [])


if __name__ == "__main__":
    main()

"""KenLM's programs as subprocesses: lmplz estimates from text of any size, build_binary makes files that are mapped."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from ds2cli.errors import DataError, Ds2Error, UsageError
from ds2cli.lm.kneser_ney import FALLBACK_DISCOUNTS, Discounts

INSTALL = "utils/install_kenlm.sh"
_STATISTICS = re.compile(r"^(\d+) \d+(?:/\d+)? D1=(\S+) D2=(\S+) D3\+=(\S+)$", re.MULTILINE)
_SUBSTITUTED = re.compile(r"^Substituting fallback discounts for order (\d+)", re.MULTILINE)


def find_program(program: str) -> str | None:
    """Where a KenLM program is: on the PATH, in $KENLM_BIN, or in tools/kenlm/bin beside the package."""
    folders = [os.environ.get("KENLM_BIN", ""), str(Path(__file__).parents[2] / "tools" / "kenlm" / "bin")]
    return shutil.which(program) or next((p for f in folders if f and (p := shutil.which(program, path=f))), None)


def require_program(program: str, why: str) -> str:
    """The path of a KenLM program; UsageError with the command that builds it."""
    path = find_program(program)
    if path is None:
        raise UsageError(f"{why} needs KenLM's {program}, which is not on the PATH (fix: {INSTALL})")
    return path


def estimate(
    text: Path,
    arpa: Path,
    order: int,
    prune: list[int],
    vocabulary: Iterable[str] | None = None,
    *,
    memory: str = "2G",
    fallback: bool = True,
) -> list[Discounts]:
    """Run lmplz on cleaned lines, once more with --discount_fallback where it refuses small text; return the discounts.

    text: a sentence a line.  arpa: written.  vocabulary: n-grams with other words are left out.
    Ds2Error with lmplz's own words when it fails for another reason, DataError when it refuses and `fallback` is off.
    """
    command = [require_program("lmplz", "--estimator lmplz"), "--order", str(order), "--memory", memory, "--temp_prefix"]
    command += [f"{arpa.parent}/", "--text", str(text), "--arpa", str(arpa), "--prune", *map(str, prune)]
    if vocabulary is not None:
        limit = arpa.with_suffix(".vocabulary")
        limit.write_text("\n".join(vocabulary), "utf-8")
        command += ["--limit_vocab_file", str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    why = ""
    if done.returncode and "BadDiscountException" in done.stderr:
        why = _discount_failure(done.stderr)
        if not fallback:
            raise DataError(f"too little text for Kneser-Ney: {why} (fix: --discount-fallback, or more text)")
        command += ["--discount_fallback", *map(str, FALLBACK_DISCOUNTS)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise Ds2Error(f"lmplz failed with status {done.returncode}: {_last_error(done.stderr)}")
    replaced = {int(n) + 1 for n in _SUBSTITUTED.findall(done.stderr)}
    return [
        Discounts((float(d1), float(d2), float(d3)), why if int(n) in replaced else "")
        for n, d1, d2, d3 in _STATISTICS.findall(done.stderr)
    ]


def build_binary(arpa: Path, binary: Path) -> None:
    """Turn an ARPA file into KenLM's `probing` binary. Ds2Error with its own words when it fails."""
    command = [
        require_program("build_binary", f"{binary.name}: a KenLM binary"),
        "-T",
        f"{binary.parent}/",
        "probing",
        str(arpa),
        str(binary),
    ]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise Ds2Error(f"build_binary failed with status {done.returncode}: {_last_error(done.stderr)}")


def _discount_failure(log: str) -> str:
    none = re.search(r"any (\d+-gram)s with adjusted count (\d)", log)
    odd = re.search(r"(\d+-gram) discount out of range for adjusted count (\d): (\S+)\.", log)
    if none:
        return f"no {none[1]} has adjusted count {none[2]}"
    return f"D{odd[2]} of {odd[1]}s would be {odd[3]}" if odd else _last_error(log)


def _last_error(log: str) -> str:
    """The sentence of a KenLM program's last words that says what went wrong."""
    lines = [line.strip() for line in log.splitlines() if line.strip() and not line.startswith(("===", "---", "***"))]
    thrown = [i for i, line in enumerate(lines) if " threw " in line]
    if thrown and thrown[-1] + 1 < len(lines):
        return lines[thrown[-1] + 1].partition(";")[0]
    last = [line for line in lines if line not in ("ERROR", "SUCCESS")]
    return last[-1] if last else "it log nothing"

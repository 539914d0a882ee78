"""A comparison of systems in words and tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ds2cli.metrics.aligner import RATE_NAMES
from ds2cli.metrics.comparison_pair import MIN_DRAWN, MIN_SEGMENTS
from ds2cli.metrics.significance import LAST_EXACT, MIN_BLOCKS

if TYPE_CHECKING:
    from ds2cli.metrics.comparison import Comparison
    from ds2cli.metrics.comparison_pair import PairResult

FEW_DRAWN = 20
"""Utterances or groups from which on its intervals are trusted."""

LARGE_DIFFERENCE = 1.0
"""Points: a set that cannot show such a difference is small."""

SMALL_FACTOR = 2
"""A set that shows a difference is small if LARGE_DIFFERENCE needs more than this many times its words."""

UNIT_NAMES = {"word": "words", "char": "characters", "mixed": "units", "token": "tokens"}


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """Yield the rates, then each system against the first, and with several pairs a table of all."""
    c = comparison
    if not c.words:
        yield f"The references have no {UNIT_NAMES[c.unit]}: there is nothing to compare."
        return
    rate, units = RATE_NAMES[c.unit], UNIT_NAMES[c.unit]
    sizes = f"{_count(c.utterances, 'utterance')}, {_count(c.words, units[:-1])}"
    yield f"{sizes}, {c.aligner.describe([c.unit])}, {c.counted}; 95 % confidence intervals"
    rows = [["system", f"%{rate}", "interval", "errors", "ins", "del", "sub", "utterances with errors"]]
    for k, name in enumerate(c.names):
        counts, (low, high) = c.counts(k), c.interval(k)
        numbers = [str(n) for n in (counts.errors, counts.ins, counts.dels, counts.subs, c.wrong[k])]
        span = f"{low:.2f} to {high:.2f}" if c.num_drawn >= MIN_DRAWN else "-"
        rows.append([name, f"{counts.rate:.2f}", span, *numbers])
    yield from _table(rows)
    for pair in c.pairs:
        if pair.first == 0:
            yield ""
            yield from _pair_lines(c, pair)
    if len(c.pairs) > 1:
        yield ""
        decides = "MAPSSWE" if c.resample == "id" else "the bootstrap"
        yield f"All pairs by MAPSSWE; corrected: p of {decides} corrected for {len(c.pairs)} pairs (Holm); ~: not shown"
        rows = [["first", "second", "points", "segments", "Z", "p", "corrected", "better"]]
        for pair in c.pairs:
            z = "" if pair.mapsswe.z is None else f"{pair.mapsswe.z:.3f}"
            better = pair.second if pair.difference < 0 else pair.first
            names = [c.names[pair.first], c.names[pair.second]]
            numbers = [f"{pair.difference:+.2f}", str(pair.mapsswe.cases), z]
            verdict = c.names[better] if pair.verdict == "real" else "~"
            rows.append([*names, *numbers, _p_cell(pair.mapsswe.p), _p_cell(pair.p_corrected), verdict])
        yield from _table(rows)


def _pair_lines(c: Comparison, pair: PairResult) -> Iterator[str]:
    first, second = c.names[pair.first], c.names[pair.second]
    rates = [c.counts(k).rate for k in (pair.first, pair.second)]
    sums, test = pair.sums, pair.mapsswe
    relative = f" ({abs(pair.difference) / rates[0]:.1%} relative)".replace("%", " %") if rates[0] else ""
    change = f"{abs(pair.difference):.2f} points {'lower' if pair.difference < 0 else 'higher'}{relative}"
    yield f"{second} against {first}: {change if pair.difference else 'the same rate'}"
    low, high = pair.interval
    drawn = _drawn(c)
    share = f"{100 * pair.share_better:.1f} %"
    if c.num_drawn >= MIN_DRAWN:
        yield f"  bootstrap   {low:+.2f} to {high:+.2f} points; lower in {share} of {c.draws} draws of {drawn}"
    else:
        yield f"  bootstrap   {drawn} are too few" if c.num_drawn > 1 else f"  bootstrap   {drawn} is too few"
    z = "" if test.z is None else f"Z {test.z:.3f}, "
    exact = "" if pair.p_exact is None else f"; exact p {_p(pair.p_exact)}, used below {MIN_SEGMENTS} segments"
    yield f"  MAPSSWE     {z}p {_p(test.p)} ({_count(test.cases, 'segment')} with errors{exact})"
    ties = c.utterances - sums.better - sums.worse
    yield (f"  utterances  {sums.better} better, {sums.worse} worse, {ties} tied; sign test p {_p(pair.signs.p)}")
    correct = f"{sums.only_second} only in the second, {sums.only_first} only in the first"
    yield f"  McNemar     utterances without errors: {correct}; p {_p(pair.mcnemar.p)}"
    if pair.ranks is not None and pair.group_signs is not None and pair.ranks.cases > 1:
        few = f" (fewer than {MIN_BLOCKS}: not reliable)" if pair.ranks.cases < MIN_BLOCKS else ""
        tests = f"sign test p {_p(pair.group_signs.p)}, Wilcoxon Z {pair.ranks.z:.2f}, p {_p(pair.ranks.p)}"
        yield f"  {c.group_field + 's':<10}  {pair.ranks.cases}: {tests}{few}"
    if c.aligner.rule == "sclite":
        printed = {"MP": test, "SI": pair.group_signs, "WI": pair.ranks, "MN": pair.mcnemar}
        values = ", ".join(f"{name} {_p_cell(r.p_sc_stats)}" for name, r in printed.items() if r is not None)
        wrong = [n for n, r in printed.items() if r is not None and r.z is None and r.cases > LAST_EXACT and n != "MP"]
        note = f" ({' and '.join(wrong)}: too small, an error of sc_stats)" if wrong else ""
        yield f"  sc_stats    prints {values}{note}"
    yield from ("  " + line for line in _power(c, pair))
    yield from _verdict(c, pair)


def _power(c: Comparison, pair: PairResult) -> Iterator[str]:
    units = UNIT_NAMES[c.unit]
    if pair.smallest is None or pair.words_per_point is None:
        return
    need = _round_up(pair.words_per_point)
    yield (
        f"power       smallest detectable difference {pair.smallest:.2f} points (80 % power); "
        f"1 point needs about {need} {units}, this set has {c.words}"
    )


def _verdict(c: Comparison, pair: PairResult) -> Iterator[str]:
    """Yield what the tests mean, and a warning if the set is too small to rely on them."""
    first, second = c.names[pair.first], c.names[pair.second]
    better, worse = (second, first) if pair.difference < 0 else (first, second)
    name = "by the bootstrap" if c.resample != "id" else "MAPSSWE" if pair.p_exact is None else "exact MAPSSWE"
    p = f"{name}, p {_p(pair.p_corrected)}" + (f" corrected for {len(c.pairs)} pairs" if len(c.pairs) > 1 else "")
    if pair.verdict == "same":
        yield f"No difference: {second} and {first} make equally many errors in every segment."
        return
    if pair.verdict == "too-few":
        yield f"No conclusion: a test set of {_drawn(c)} is too small, expected at least {MIN_DRAWN}."
    elif pair.verdict == "real":
        yield f"The difference is real: {better} makes fewer errors than {worse} ({p})."
    elif pair.verdict == "uncertain":
        other = f"the bootstrap, p {_p(pair.p_bootstrap)}"
        yield f"The difference is uncertain: the tests disagree ({p}; {other}). Use a larger test set."
    else:
        smallest = f" This set can hardly show less than {pair.smallest:.2f} points." if pair.smallest else ""
        yield f"No difference is shown: {abs(pair.difference):.2f} points may be chance ({p}).{smallest}"
    yield from _warning(c, pair)


def _warning(c: Comparison, pair: PairResult) -> Iterator[str]:
    reasons = []
    # a set that shows a difference is only called small if it is much too small for others
    factor = SMALL_FACTOR if pair.verdict == "real" else 1
    if pair.smallest is not None and pair.smallest**2 > factor * LARGE_DIFFERENCE**2:
        reasons.append(f"{c.words} {UNIT_NAMES[c.unit]} are too few to show a difference of {LARGE_DIFFERENCE:g} point")
    if pair.p_exact is not None:
        reasons.append(f"only {_count(pair.mapsswe.cases, 'segment')} with errors")
    if c.num_drawn < FEW_DRAWN:
        reasons.append(f"only {_drawn(c)}")
    if reasons:
        low, high = (round(end, 1) for end in pair.interval)
        is_known = c.num_drawn >= MIN_DRAWN and low < high
        spread = f" The true difference may be from {low:+.1f} to {high:+.1f} points." if is_known else ""
        yield f"Small test set: {', '.join(reasons)}.{spread}"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns of plain text; numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    names = [k for k, cell in enumerate(rows[1]) if not _is_number(cell)]
    for row in rows:
        cells = [
            cell.ljust(w) if k in names else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _is_number(cell: str) -> bool:
    return not cell or (cell[-1].isdigit() and cell.lstrip("<+-")[:1].isdigit() and " " not in cell)


def _p(p: float) -> str:
    return f"= {p:.3f}" if p >= 0.001 else "< 0.001"


def _p_cell(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def _drawn(c: Comparison) -> str:
    what = "utterance" if c.resample == "id" else c.resample
    return _count(c.num_drawn, what)


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def _round_up(number: int) -> int:
    """To two digits."""
    step = int(10 ** max(0, len(str(number)) - 2))
    return -(-number // step) * step

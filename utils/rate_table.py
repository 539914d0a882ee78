#!/usr/bin/env python3
"""Print the error rates of several tests as a Markdown table: utils/rate_table.py NAME=FILE.json… [NAME=CER:6.40…].

FILE.json is what `ds2 score --json` writes. NAME=CER:6.40 or NAME=WER:4.67 is a row with a published rate (percent).
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

PUBLISHED = re.compile(r"([WC]ER):([\d.]+)")


def read_rates(file: str) -> dict[str, dict[str, Any]]:
    """The rates in a file of `ds2 score --json`, by their names, such as CER."""
    if match := PUBLISHED.fullmatch(file):
        return {match[1]: {"rate": float(match[2])}}
    try:
        rates = json.loads(Path(file).read_text("utf-8"))["rates"]
        return {str(rate["name"]): rate for rate in rates.values()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as e:
        sys.exit(f"rate_table.py: {file}: {e}: expected a file of ds2 score --json")


def format_table(rows: dict[str, dict[str, dict[str, Any]]]) -> str:
    """rows: name of the row → name of the rate → the rate in percent, its 95 % interval, errors and total."""
    units = {"WER": "words", "CER": "characters"}
    names = [name for name in units if any(name in rates for rates in rows.values())]
    cells = [["", *(title for name in names for title in (name, "95 % interval", "errors"))]]
    for row, rates in rows.items():
        cells.append([row])
        for name in names:
            rate = rates.get(name, {})
            low, high = rate.get("interval_95") or (None, None)
            cells[-1] += [
                f"{rate['rate']:.2f}" if rate.get("rate") is not None else "",
                f"{low:.2f} to {high:.2f}" if low is not None else "",
                f"{rate['errors']:,} / {rate['total']:,} {units[name]}" if "total" in rate else "",
            ]
    lines = [f"| {' | '.join(line)} |" for line in cells]
    return "\n".join([lines[0], "|---" * len(cells[0]) + "|", *lines[1:]])


if __name__ == "__main__":
    if len(sys.argv) < 2 or not all("=" in word for word in sys.argv[1:]):
        sys.exit("usage: utils/rate_table.py NAME=FILE.json… [NAME=CER:6.40…]")
    named = dict(word.split("=", 1) for word in sys.argv[1:])
    sys.stdout.write(format_table({name: read_rates(file) for name, file in named.items()}) + "\n")

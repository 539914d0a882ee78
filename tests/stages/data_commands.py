"""The stages of `ds2 data`, which read and write files, on rows in memory."""

import json
import tempfile
from pathlib import Path

from ds2cli import manifest_lines
from ds2cli.stages import data_combine, data_sort, data_split, data_stats, data_subset


def write_rows(path, rows):
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def rows_of(lines):
    return [json.loads(line.text) for line in lines]


def sort(path, ledger, out="-"):
    return rows_of(data_sort.sort(path, out, ledger))


def subset(config, rows, ledger):
    with tempfile.TemporaryDirectory() as folder:
        return rows_of(data_subset.subset(config, write_rows(f"{folder}/in.jsonl", rows), f"{folder}/o.jsonl", ledger))


def split(config, rows, name="IN"):
    with tempfile.TemporaryDirectory() as folder:
        path = write_rows(f"{folder}/in.jsonl", rows)
        parts = data_split.plan(config, manifest_lines.read(path, fields=data_split.fields_for(config)), name)
        names = list(data_split.write(path, f"{folder}/out.JOB.jsonl", parts, config.parts))
        return [[json.loads(line) for line in Path(part).read_text("utf-8").splitlines()] for part in names]


def combine(parts, ledger):
    with tempfile.TemporaryDirectory() as folder:
        paths = [write_rows(f"{folder}/{k}.jsonl", rows) for k, rows in enumerate(parts)]
        streams = [manifest_lines.read(path, f"{folder}/o.jsonl", ledger=ledger) for path in paths]
        return rows_of(data_combine.combine(streams, ledger))


def stats(rows, name="IN"):
    with tempfile.TemporaryDirectory() as folder:
        path = write_rows(f"{folder}/in.jsonl", rows)
        return data_stats.stats(manifest_lines.read(path, fields=data_stats.FIELDS), name)

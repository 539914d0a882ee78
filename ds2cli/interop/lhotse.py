"""lhotse's manifests, which icefall and NeMo read, too: recordings, supervisions and cuts in JSON Lines.

Import     SRC is a folder with cuts.jsonl.gz, or recordings.jsonl.gz and supervisions.jsonl.gz, also with names around
           these words such as librispeech_recordings_dev-clean.jsonl.gz (--part dev-clean selects one of several); or
           the file with cuts. Each supervision is a row; a cut without one is a row without a text. Features of cuts
           are used if they are in Kaldi archives. Languages such as English stay in the field `language`.
Commands   Recordings of the type `command` are dropped; --allow-commands runs them and stores what they write in
           --audio-dir.
Dropped    Mixed and padding cuts, recordings that are no files or are changed when they are loaded, supervisions
           without a recording or of some of its channels, and repeated ids.
Export     recordings.jsonl.gz, supervisions.jsonl.gz and cuts.jsonl.gz. Other fields of rows become custom fields.

Example: ds2 data import lhotse data/manifests dev.jsonl --part dev-clean

Example: ds2 data export lhotse dev.jsonl lhotse/dev
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ds2cli import io
from ds2cli.config.interop import LhotseExport, LhotseImport
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, UsageError
from ds2cli.interop._extra import restore
from ds2cli.interop._found import Found, Item
from ds2cli.interop._lhotse_row import Fields, Source, add_features, kept_extra, make_row, make_source
from ds2cli.interop._lhotse_write import FILES, MAIN, write
from ds2cli.interop._recordings import Recordings
from ds2cli.json_lines import parse_json

__all__ = ["FILES", "MAIN", "ExportOptions", "ImportOptions", "read", "write"]

ImportOptions = LhotseImport
ExportOptions = LhotseExport

ENDINGS = (".jsonl.gz", ".jsonl")
CUTS = ("MonoCut", "MultiCut", "Cut")
KINDS = ("cuts", "recordings", "supervisions")


def read(source: str, config: LhotseImport, ledger: Ledger) -> Found:
    """The supervisions of a source."""
    files = _find_manifests(source, config.part)
    recordings = Recordings(config, config.root)
    if "cuts" in files:
        return Found(_read_cuts(files["cuts"], recordings, ledger))
    return Found(_read_supervisions(files["supervisions"], files["recordings"], recordings, ledger))


def _find_manifests(source: str, part: str | None) -> dict[str, str]:
    """The manifest with cuts, or those with recordings and supervisions. UsageError if there are several of a kind."""
    if not Path(source).is_dir():
        if not Path(source).is_file():
            raise DataError(f"{source}: no such file or folder, expected manifests of lhotse")
        return {"cuts": source}
    names = [p.name for p in sorted(Path(source).iterdir()) if p.name.endswith(ENDINGS)]
    found: dict[str, str] = {}
    for kind in KINDS:
        matches = [name for name in names if kind in name and (part is None or part in name)]
        exact = [name for name in matches if name in [kind + ending for ending in ENDINGS]]
        if part is None and exact:
            matches = exact
        if len(matches) > 1:
            raise UsageError(
                f"{source}: several manifests have {kind}: {', '.join(matches)[:200]} (--part selects one)"
            )
        if matches:
            found[kind] = str(Path(source, matches[0]))
    if "cuts" in found:
        return found
    if missing := [kind for kind in KINDS[1:] if kind not in found]:
        which = f" with {part!r} in its name" if part else ""
        raise DataError(f"{source}: no file *{missing[0]}*.jsonl.gz{which}, and none with cuts")
    return found


def _read_lines(path: str, ledger: Ledger) -> Iterator[tuple[str, Fields]]:
    """The objects of a manifest after their locations; bad lines are dropped."""
    for number, line in io.read_lines(path):
        location = f"{path}:{number}"
        if line.strip():
            try:
                yield location, parse_json(line)
            except BadUtterance as e:
                ledger.drop(location, e.reason, f"{location}: {e.detail}")


def _read_cuts(path: str, recordings: Recordings, ledger: Ledger) -> Iterator[Item]:
    other = 0
    recording: Any = None
    source = _try_source(recording, recordings)
    for location, cut in _read_lines(path, ledger):
        name, kind = str(cut.get("id", location)), cut.get("type", "MonoCut")
        supervisions = [s for s in cut.get("supervisions") or [] if isinstance(s, dict)]
        if kind not in CUTS:
            detail = f"{location}: a {kind}, which is made of several recordings, expected a MonoCut"
            _drop_all(name, supervisions, BadUtterance("not-one-recording", detail), ledger)
            continue
        # the cuts of a recording usually follow one another
        if cut.get("recording") != recording:
            recording = cut.get("recording")
            source = _try_source(recording, recordings)
        if isinstance(source, BadUtterance):
            _drop_all(name, supervisions, BadUtterance(source.reason, f"{location}: {source.detail}"), ledger)
            continue
        whole = {"id": name, "start": 0, "duration": cut.get("duration"), "channel": cut.get("channel", 0)}
        for supervision in supervisions or [whole | {"custom": cut.get("custom")}]:
            try:
                row = make_row(supervision, source, _seconds(cut.get("start", 0)))
                other += not add_features(row, cut, recordings)
            except BadUtterance as e:
                ledger.drop(str(supervision.get("id", name)), e.reason, f"{location}: {e.detail}")
                continue
            yield _finish(row, supervision)
    if other:
        ledger.notes.append(f"the features of {other} rows are left out: not in a Kaldi archive, or of other times")


def _read_supervisions(path: str, listed: str, recordings: Recordings, ledger: Ledger) -> Iterator[Item]:
    sources: dict[str, Source | BadUtterance] = {}
    for location, found in _read_lines(listed, ledger):
        name = str(found.get("id"))
        if name in sources:
            ledger.drop(name, "duplicate-id", f"{location}: a second recording {name!r}: the first one is used")
        else:
            sources[name] = _try_source(found, recordings)
    used: set[str] = set()
    for location, supervision in _read_lines(path, ledger):
        name, recording = str(supervision.get("id", location)), str(supervision.get("recording_id"))
        used.add(recording)
        try:
            source = sources.get(recording)
            if source is None:
                raise BadUtterance("no-recording", f"the recording {recording!r} is not in {listed}")
            if isinstance(source, BadUtterance):
                raise source
            row = make_row(supervision, source, 0)
        except BadUtterance as e:
            ledger.drop(name, e.reason, f"{location}: {e.detail}")
            continue
        yield _finish(row, supervision)
    if unused := len(sources.keys() - used):
        ledger.notes.append(f"{unused} recordings have no supervision")


def _finish(row: dict[str, Any], supervision: Fields) -> Item:
    extra = kept_extra(supervision)
    row["id"] = str(row["id"])
    return (row, False) if extra is None else (restore(row, extra), True)


def _try_source(recording: Any, recordings: Recordings) -> Source | BadUtterance:
    try:
        return make_source(recording, recordings)
    except BadUtterance as e:
        return e


def _drop_all(name: str, supervisions: list[Fields], error: BadUtterance, ledger: Ledger) -> None:
    """Drop each supervision of a cut, or the cut if it has none."""
    for id_ in [str(s.get("id", name)) for s in supervisions] or [name]:
        ledger.drop_error(id_, error)


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise BadUtterance("bad-segment", f"the cut starts at {value!r}, expected seconds")
    return value

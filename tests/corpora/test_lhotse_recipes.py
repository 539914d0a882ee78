"""The segments of TED-LIUM, WenetSpeech and Common Voice are those of lhotse's recipes."""

import json
import shutil

import pytest
import soundfile

from ds2cli.corpora import load_corpus
from ds2cli.drops import Ledger

pytest.importorskip("lhotse")
pytestmark = pytest.mark.peer


def rows_of(name, source, **settings):
    corpus, ledger = load_corpus(name), Ledger()
    rows = list(corpus.prepare(str(source), corpus.Options(**settings), ledger))
    return sorted(rows, key=lambda row: row["id"]), ledger


def as_segments(supervisions):
    return [(s.recording_id, s.start, s.duration, s.channel) for s in sorted(supervisions, key=lambda s: s.start)]


def test_tedlium(long_recording, tmp_path):
    # the whole recipe needs sph2pipe
    from lhotse.recipes.tedlium import _parse_stm_file

    samples, parts = long_recording
    folder = tmp_path / "legacy/train"
    for name in ("sph", "stm"):
        (folder / name).mkdir(parents=True)
    soundfile.write(folder / "sph/AlGore_2009.sph", samples, 16000, format="NIST")
    lines = ["AlGore_2009 1 inter_segment_gap 0 0.5 <o,,unknown> ignore_time_segment_in_scoring"]
    lines += [f"AlGore_2009 1 AlGore_2009 {p.begin:.2f} {p.end:.2f} <NA> {p.text.lower()} it 's" for p in parts]
    (folder / "stm/AlGore_2009.stm").write_text("\n".join(lines) + "\n")
    expected = _parse_stm_file(folder / "stm/AlGore_2009.stm")
    rows, _ = rows_of("tedlium", tmp_path)
    assert [("AlGore_2009", row["offset"], row["duration"], row["channel"]) for row in rows] == as_segments(expected)
    texts = [s.text.replace(" '", "'").lower() for s in sorted(expected, key=lambda s: s.start)]
    assert [row["text"] for row in rows] == texts


# lhotse leaves the list open
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_wenetspeech(long_recording, tmp_path):
    from lhotse.recipes.wenet_speech import prepare_wenet_speech

    samples, parts = long_recording
    (tmp_path / "audio/train").mkdir(parents=True)
    soundfile.write(tmp_path / "audio/train/Y1.flac", samples, 16000)
    segments = [
        {"sid": f"Y1_S{i:05d}", "begin_time": round(p.begin, 2), "end_time": round(p.end, 2), "text": "挺好的"}
        for i, p in enumerate(parts)
    ]
    segments = [{**s, "confidence": 1.0, "subsets": ["L"] if i else ["L", "S"]} for i, s in enumerate(segments)]
    audio = {"aid": "Y1", "path": "audio/train/Y1.flac", "duration": len(samples) / 16000, "segments": segments}
    (tmp_path / "WenetSpeech.json").write_text(json.dumps({"audios": [audio]}))
    for part, count in (("L", 6), ("S", 1)):
        expected = prepare_wenet_speech(tmp_path, dataset_parts=[part])[part]["supervisions"]
        rows, _ = rows_of("wenetspeech", tmp_path, part=part)
        assert len(rows) == count and {row["recording"] for row in rows} == {"Y1"}
        by_id = {s.id: s for s in expected}
        for row in rows:
            supervision = by_id.pop(row["id"])
            assert (row["offset"], row["text"]) == (supervision.start, supervision.text)
            assert row["duration"] == pytest.approx(supervision.duration, abs=1e-4)
        assert not by_id


def test_commonvoice(shared_data, tmp_path):
    from lhotse.recipes.commonvoice import prepare_commonvoice

    shutil.copytree(shared_data / "commonvoice/en", tmp_path / "en")
    # lhotse expects the columns of new versions
    lines = (tmp_path / "en/train.tsv").read_text("utf-8").splitlines()
    lines = [line + ("\tvariant" if i == 0 else "\t") for i, line in enumerate(lines)]
    (tmp_path / "en/train.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    expected = prepare_commonvoice(tmp_path, tmp_path / "out", languages="en", splits=["train"])["en"]["train"]
    rows, ledger = rows_of("commonvoice", tmp_path, part="train")
    texts = {s.id: (s.text, s.channel) for s in expected["supervisions"]}
    assert not ledger.rows and len(rows) == 40
    assert {row["id"]: row["text"] for row in rows} == {name: text for name, (text, _) in texts.items()}

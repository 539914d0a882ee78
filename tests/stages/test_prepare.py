import types
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ds2cli.audio import lengths
from ds2cli.audio.recording import parse_recording, read_samples
from ds2cli.config.base import build
from ds2cli.config.effects import refuse_without_effect
from ds2cli.config.prepare import PrepareConfig
from ds2cli.config.text import TextOptions
from ds2cli.corpora import corpus_names, csv, load_corpus
from ds2cli.corpora import folder as folder_corpus
from ds2cli.drops import Ledger
from ds2cli.errors import UsageError
from ds2cli.interop import _found
from ds2cli.stages.prepare import run

TEXT = {f.name for f in fields(TextOptions)}
COLUMNS = {f"{kind}_column" for kind in ("audio", "text", "id", "speaker")}


@pytest.fixture
def folder(tmp_path):
    noise = 0.1 * np.random.default_rng(0).normal(size=80000)

    def add(name, text, seconds=1.0):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / f"{name}.wav", noise[: round(16000 * seconds)], 16000)
        if text is not None:
            (tmp_path / f"{name}.txt").write_bytes(text.encode() if isinstance(text, str) else text)

    add("b", "Hello, World!")
    add("a", "Fünf")
    return tmp_path, add


def prepared(folder, **settings):
    ledger = Ledger()
    rows = list(run("folder", str(folder[0]), folder_corpus.Options(**settings), ledger))
    return rows, {r["id"]: r["reason"] for r in ledger.rows}


@pytest.mark.long
@pytest.mark.parametrize("nj", [1, 3])
@pytest.mark.parametrize("check", ["decode", "header"])
def test_rows_are_sorted_with_durations_and_normalized_texts(folder, nj, check):
    for i in range(300):
        folder[1](f"u{i:03}", "x", seconds=0.1)
    rows, drops = prepared(folder, nj=nj, check=check)
    assert not drops
    assert [r["id"] for r in rows] == sorted(r["id"] for r in rows)
    assert len(rows) == 302
    assert list(rows[0]) == ["id", "audio_filepath", "duration", "text", "lang", "sample_rate"]
    assert rows[0]["text"] == "fünf"
    assert (rows[1]["text"], rows[1]["duration"], rows[1]["sample_rate"]) == ("hello world", 1.0, 16000)


@pytest.mark.parametrize("check", ["decode", "header"])
def test_the_number_of_samples_follows_from_the_duration(folder, check):
    folder[1]("odd", "x", seconds=12345 / 16000)
    rows, _ = prepared(folder, check=check)
    assert [round(row["duration"] * row["sample_rate"]) for row in rows] == [16000, 16000, 12345]


def test_bad_texts_are_dropped_by_reason(folder):
    folder[1]("digits", "call 911", seconds=3)
    folder[1]("none", None)
    folder[1]("empty", " ,\n")
    folder[1]("latin", "Müller".encode("latin-1"))
    folder[1]("long", "much too many words for so short a time", seconds=0.2)
    folder[1]("crlf", "one\r\ntwo\r\n")
    rows, drops = prepared(folder)
    assert drops == {
        "digits": "digits",
        "none": "no-text",
        "empty": "no-text",
        "latin": "not-utf8",
        "long": "text-too-long",
    }
    assert {r["id"]: r["text"] for r in rows}["crlf"] == "one two"
    ledger = Ledger()
    list(run("folder", str(folder[0]), folder_corpus.Options(), ledger))
    assert next(r["detail"] for r in ledger.rows if r["id"] == "digits").endswith(", or try --numbers spell")
    rows, drops = prepared(folder, numbers="spell")
    assert {r["id"]: r["text"] for r in rows}["digits"] == "call nine hundred and eleven"
    rows, drops = prepared(folder, text=False)
    assert len(rows) == 8
    assert not drops


def test_a_row_with_a_pipe_is_dropped_as_no_later_stage_could_read_it(folder, piped):
    path, ledger = piped((folder[0] / "a.wav").read_bytes(), "c.wav"), Ledger()
    (folder[0] / "t.csv").write_text("path,text\na.wav,one\nc.wav,two\n")
    rows = list(run("csv", str(folder[0] / "t.csv"), csv.Options(), ledger))
    assert [row["text"] for row in rows] == ["one"]
    assert [row["reason"] for row in ledger.rows] == ["unreadable-audio"]
    assert ledger.rows[0]["detail"].startswith(f"{path}: this is a pipe, which can be read only once, expected a file")


@pytest.mark.parametrize("block", [1, 256])
def test_duplicate_ids_are_dropped(folder, monkeypatch, block):
    monkeypatch.setattr("ds2cli.stages.prepare.BLOCK", block)
    rows, drops = prepared_table(folder, "id,path,text", "c,b.wav,first", "d,a.wav,x", "c,a.wav,second")
    assert [r["text"] for r in rows if r["id"] == "c"] == ["first"]
    assert drops == {"c": "duplicate-id"}


def test_recordings_whose_paths_look_alike_have_different_ids(folder):
    for name in ("c-a", "c/a", "d 1", "d_1"):
        folder[1](name, "x")
    rows, drops = prepared(folder)
    assert not drops
    assert [row["id"].rpartition("-")[0] for row in rows] == ["", "", "c-a", "c-a", "d_1", "d_1"]
    assert len({row["id"] for row in rows}) == 6


def test_a_corpus_without_settings_of_its_own(folder, monkeypatch):
    """Each recording needs a text; digits drop the utterance, and no option is recommended that does not exist."""
    folder[1]("digits", "call 911", seconds=3)
    folder[1]("empty", " ,\n")
    corpus = types.SimpleNamespace(
        prepare=lambda source, config, ledger: [
            {"id": p.stem, "audio_filepath": str(p), "text": p.with_suffix(".txt").read_text()}
            for p in Path(source).glob("*.wav")
        ]
    )
    monkeypatch.setattr("ds2cli.stages.prepare.load_corpus", lambda name: corpus)
    ledger = Ledger()
    rows = list(run("bare", str(folder[0]), PrepareConfig(), ledger))
    assert [(r["id"], r["text"]) for r in rows] == [("a", "fünf"), ("b", "hello world")]
    assert {r["id"]: r["reason"] for r in ledger.rows} == {"digits": "digits", "empty": "no-text"}
    assert not any("--numbers" in r["detail"] for r in ledger.rows)


def test_numbers_are_spelled_in_the_language_of_the_row(folder):
    folder[1]("digits", "7", seconds=3)
    rows, _ = prepared(folder, numbers="spell", lang="fr")
    assert {r["id"]: r["text"] for r in rows}["digits"] == "sept"


def test_texts_follow_the_rules_of_their_language(folder):
    folder[1]("case", "IRMAK İnce", seconds=3)
    rows, _ = prepared(folder, lang="tr-TR")
    assert {r["id"]: r["text"] for r in rows}["case"] == "ırmak ince"
    with pytest.raises(UsageError, match=r"--lang turkish: expected the code of a language, such as en, tr or pt-BR"):
        prepared(folder, lang="turkish")


def test_tags_drop_their_utterance_unless_they_are_removed_by_name(folder):
    folder[1]("laugh", "[laughs] good morning", seconds=3)
    folder[1]("noise", "good (door noise) evening", seconds=3)
    folder[1]("removed", "[LAUGHS]", seconds=3)
    _, drops = prepared(folder)
    assert drops == {"laugh": "tags", "noise": "tags", "removed": "tags"}
    rows, drops = prepared(folder, remove_tags="laughs, door noise")
    assert {r["id"]: r["text"] for r in rows if r["id"] in ("laugh", "noise")} == {
        "laugh": "good morning",
        "noise": "good evening",
    }
    assert drops == {"removed": "no-text"}


def test_numbers_that_can_be_read_in_several_ways_are_dropped(folder):
    for name, text in (("year", "born in 1984"), ("ordinal", "the 2nd one"), ("plain", "take 2 of them")):
        folder[1](name, text, seconds=3)
    ledger = Ledger()
    settings = {"numbers": "spell"}
    rows = list(run("folder", str(folder[0]), folder_corpus.Options(**settings), ledger))
    assert {r["id"]: r["text"] for r in rows}["plain"] == "take two of them"
    assert {r["id"]: r["reason"] for r in ledger.rows} == {"year": "digits", "ordinal": "digits"}
    assert not any("--numbers" in r["detail"] for r in ledger.rows)
    _, ledger = prepared(folder), Ledger()
    list(run("folder", str(folder[0]), folder_corpus.Options(), ledger))
    helped = {r["id"] for r in ledger.rows if r["detail"].endswith("or try --numbers spell")}
    assert helped == {"plain"}, "the option is named only where it helps"


def test_a_table_may_name_the_language_of_each_row(folder):
    table = folder[0] / "t.tsv"
    table.write_text("path\tsentence\tlocale\na.wav\tIğdır\ttr\nb.wav\tIğdır\tTurkish\n", "utf-8")
    rows = list(run("csv", str(table), csv.Options(lang="en"), Ledger()))
    assert [(r["lang"], r["text"]) for r in rows] == [("tr", "ığdır"), ("en", "iğdır")]


def test_unknown_corpora():
    assert {"asterisk", "librispeech", "folder", "csv"} <= set(corpus_names())
    with pytest.raises(UsageError, match=r"unknown corpus 'libri', expected one of .*asterisk, .*csv"):
        load_corpus("libri")
    with pytest.raises(UsageError, match="unknown corpus 'libri'"):
        list(run("libri", "x", PrepareConfig(), Ledger()))


@pytest.mark.parametrize(
    "name, own",
    [
        ("asterisk", {"part", "lang", "download"}),
        ("librispeech", {"part", "download", "mirror", *TEXT}),
        ("commonvoice", {"part", "lang", "min_up_votes", "max_down_votes", *TEXT}),
        ("tedlium", {"part", "unk", *TEXT}),
        ("voxforge", {"accent", "lang", *TEXT}),
        ("gigaspeech", {"part", "audio_dir", *TEXT}),
        ("wenetspeech", {"part", "audio_dir", "min_confidence", *TEXT}),
        ("folder", {"lang", "text", "speaker", *TEXT}),
        ("csv", {"lang", "text", "audio_dir", *TEXT, *COLUMNS}),
    ],
)
def test_settings_of_each_corpus(name, own):
    """A setting that a corpus does not read is not one of its options."""
    options = load_corpus(name).Options
    assert {f.name for f in fields(options)} - {f.name for f in fields(PrepareConfig)} == own
    with pytest.raises(UsageError, match="unknown setting 'colour'"):
        build(options, ("c.toml", {"colour": 1}))


def test_every_corpus_is_documented():
    for name in corpus_names():
        module = load_corpus(name)
        assert callable(module.prepare)
        assert issubclass(module.Options, PrepareConfig)
        assert len(module.__doc__) > 100


def test_only_decoding_finds_a_file_that_is_truncated(folder):
    path = folder[0] / "a.wav"
    soundfile.write(folder[0] / "a.flac", soundfile.read(path)[0], 16000)
    path.unlink()
    data = (folder[0] / "a.flac").read_bytes()
    (folder[0] / "a.flac").write_bytes(data[: len(data) // 2])
    assert prepared(folder, check="decode")[1] == {"a": "truncated-audio"}
    assert prepared(folder, check="header")[1] == {}


@pytest.mark.parametrize("characters, kept", [(25, True), (26, False)])
def test_a_text_may_have_25_characters_per_second(folder, characters, kept):
    folder[1]("exact", "x" * characters, seconds=1.0)
    assert prepared(folder)[1] == ({} if kept else {"exact": "text-too-long"})


def prepared_table(folder, *lines, **settings):
    (folder[0] / "t.csv").write_text("".join(f"{line}\n" for line in lines))
    ledger = Ledger()
    rows = list(run("csv", str(folder[0] / "t.csv"), csv.Options(**settings), ledger))
    return rows, {r["id"]: r["reason"] for r in ledger.rows}


def test_ids_with_spaces_are_dropped(folder):
    rows, drops = prepared_table(folder, "id,path,text", "a b,a.wav,x", "c,b.wav,y")
    assert [r["id"] for r in rows] == ["c"]
    assert drops == {"a b": "bad-id"}


def test_a_segment_has_its_own_duration(folder):
    folder[1]("long", "x", seconds=3)
    long_text = "x" * 26  # in a second
    rows, drops = prepared_table(
        *(folder, "path,text,offset,duration", f"long.wav,{long_text},0,1", "long.wav,x,0.5,1", "long.wav,y,2,1.05"),
        *("long.wav,x,2.5,1", "long.wav,x,5,1"),
    )
    assert [(r["id"], r["duration"], r["sample_rate"]) for r in rows] == [
        ("long-00000500", 1.0, 16000),
        ("long-00002000", 1.0, 16000),
    ]
    assert list(rows[0]) == ["id", "audio_filepath", "offset", "duration", "text", "lang", "sample_rate"]
    assert drops == {
        "long-00000000": "text-too-long",
        "long-00002500": "truncated-audio",
        "long-00005000": "bad-segment",
    }


@pytest.mark.parametrize("check", ["decode", "header"])
def test_segments_are_the_same_whether_they_are_decoded_or_their_times_are_trusted(folder, check):
    folder[1]("long", "x", seconds=3)
    table = (
        "path,text,offset,duration",
        "long.wav,a,0,1",
        "long.wav,b,2.0001,1.05",
        "long.wav,c,2.5,1",
        "long.wav,d,5,1",
    )
    rows, drops = prepared_table(folder, *table, check=check)
    assert [(row["text"], row["duration"]) for row in rows] == [("a", 1.0), ("b", 0.999875)]
    assert drops == {"long-00002500": "truncated-audio", "long-00005000": "bad-segment"}


def test_the_header_of_a_long_file_is_read_once_for_all_its_segments(folder, monkeypatch):
    folder[1]("long", "x", seconds=5)
    read_headers, probe = [], lengths.probe
    monkeypatch.setattr(lengths, "probe", lambda path, **options: read_headers.append(path) or probe(path, **options))
    rows, _ = prepared_table(
        folder, "path,text,offset,duration", *(f"long.wav,a,{i / 1000},1" for i in range(1000)), check="header"
    )
    assert len(rows) == 1000 and len(read_headers) == 1


@pytest.mark.parametrize("channel", ["mix", "each"])
def test_rows_that_do_not_fit_in_memory_are_sorted_in_files(folder, monkeypatch, channel):
    monkeypatch.setattr(_found, "RUN", 7)
    monkeypatch.setattr("ds2cli.stages.prepare.BLOCK", 5)
    segments = [f"a.wav,u{i * 37 % 100:03},{i / 200},0.5" for i in range(100)]
    settings = {"check": "header", "text": False, "channel": channel}
    rows, drops = prepared_table(folder, "path,id,offset,duration", *segments, **settings)
    assert not drops and [row["id"] for row in rows] == [f"u{i:03}" for i in range(100)]


def test_a_recording_shorter_than_its_row_states_is_dropped(folder, monkeypatch):
    rows = [{"id": name, "audio_filepath": str(folder[0] / f"{name}.wav"), "text": "x"} for name in "ab"]
    corpus = types.SimpleNamespace(prepare=lambda *_: [{**rows[0], "duration": 1.05}, {**rows[1], "duration": 1.2}])
    monkeypatch.setattr("ds2cli.stages.prepare.load_corpus", lambda name: corpus)
    ledger = Ledger()
    assert [row["duration"] for row in run("bare", ".", PrepareConfig(), ledger)] == [1.0]
    assert [(row["id"], row["reason"]) for row in ledger.rows] == [("b", "truncated-audio")]


def test_a_text_without_letters_is_shown_with_its_reason(folder):
    folder[1]("comma", ",;")
    folder[1]("blank", "")
    ledger = Ledger()
    list(run("folder", str(folder[0]), folder_corpus.Options(), ledger))
    assert {r["id"]: r["detail"] for r in ledger.rows} == {
        "comma": "the text ',;' has no letters",
        "blank": "the text is empty",
    }


@pytest.mark.parametrize("nj", [1, 3])
def test_a_recording_that_memory_does_not_hold_is_dropped(folder, monkeypatch, nj):
    folder[1]("large", "the large one")
    probe = lengths.probe

    def probe_or_fail(path, **options):
        if Path(path).name == "large.wav":
            raise MemoryError
        return probe(path, **options)

    monkeypatch.setattr(lengths, "probe", probe_or_fail)
    rows, drops = prepared(folder, nj=nj)
    assert [row["id"] for row in rows] == ["a", "b"] and drops == {"large": "out-of-memory"}


@pytest.fixture
def telephone(tmp_path):
    """A recording whose second channel is half as loud and reversed, next to one with a single channel."""
    noise = 0.1 * np.random.default_rng(1).normal(size=16000)
    soundfile.write(tmp_path / "call.wav", np.stack([noise, noise[::-1] / 2], axis=1), 8000, subtype="FLOAT")
    soundfile.write(tmp_path / "mono.wav", noise, 8000, subtype="FLOAT")
    return (tmp_path,), noise


def test_a_row_per_channel(telephone):
    rows, drops = prepared(telephone[0], text=False, channel="each")
    assert not drops
    assert [(row["id"], row.get("channel")) for row in rows] == [("call-ch0", 0), ("call-ch1", 1), ("mono", None)]
    samples, _ = read_row(rows[1])
    np.testing.assert_allclose(samples, telephone[1][::-1] / 2, atol=1e-6)


def test_a_row_per_channel_of_a_table_unless_a_row_states_its_own(telephone):
    lines = ("path,text,channel,offset,duration", "call.wav,a,B,,", "call.wav,b,,0.5,1", "mono.wav,c,,,")
    rows, drops = prepared_table(telephone[0], *lines, channel="each")
    assert not drops
    assert [(row["id"], row["text"], row.get("channel")) for row in rows] == [
        ("call-00000500-ch0", "b", 0),
        ("call-00000500-ch1", "b", 1),
        ("call-ch1", "a", 1),
        ("mono", "c", None),
    ]
    assert [row["duration"] for row in rows] == [1.0, 1.0, 2.0, 2.0]


def test_one_channel_of_all_recordings(telephone):
    rows, drops = prepared(telephone[0], text=False, channel="1")
    assert drops == {"mono": "no-such-channel"}
    assert [(row["id"], row["channel"]) for row in rows] == [("call", 1)]


def test_a_channel_that_is_no_number(telephone):
    with pytest.raises(UsageError, match="expected mix, each or a channel number"):
        prepared(telephone[0], text=False, channel="left")


def read_row(row):
    return read_samples(parse_recording(row), row["sample_rate"]), row["sample_rate"]


def test_the_rules_for_texts_are_those_of_the_option(folder):
    folder[1]("cased", "“Oh, IRMAK!”", seconds=3)
    folder[1]("um", "Um, [laughter] uh-huh 5", seconds=3)
    folder[1]("uh", "uh [noise]", seconds=3)
    rows, drops = prepared(folder, text_rules="written")
    texts = {r["id"]: r["text"] for r in rows}
    assert texts["cased"] == '"Oh, IRMAK!"'
    assert drops["um"] == drops["uh"] == "tags"
    config, ledger = load_corpus("folder").Options(text_rules="conversation", check="header"), Ledger()
    texts = {r["id"]: r["text"] for r in run("folder", str(folder[0]), config, ledger)}
    assert texts["um"] == "uhhuh five" and texts["cased"] == "oh irmak"
    assert {r["id"]: r["bad"] for r in ledger.rows if r["reason"] == "not-speech"} == {"uh": False}


def test_rules_for_texts_without_texts_have_no_effect():
    options = load_corpus("folder").Options
    for name, value in (("text_rules", "cased"), ("numbers", "spell")):
        with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} has no effect with --no-text"):
            refuse_without_effect(options(text=False, **{name: value}), {name: value})

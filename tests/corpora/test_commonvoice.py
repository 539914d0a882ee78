"""A miniature of cv-corpus-VERSION, made of the recordings and the table of ../shared/data/commonvoice."""

import shutil

import pytest

from ds2cli.corpora.commonvoice import Options
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.stages import prepare

NEW = (
    *("client_id", "path", "sentence_id", "sentence", "sentence_domain", "up_votes", "down_votes", "age", "gender"),
    *("accents", "variant", "locale", "segment"),
)
OLD = ("client_id", "path", "sentence", "up_votes", "down_votes", "age", "gender", "accent", "locale", "segment")
"""The columns of old and new versions."""

TEXTS = {
    "common_voice_en_41958320": "Her grave is located at the Hietzing Cemetery.",
    "common_voice_en_41977272": 'It was named a Notable Book of the Year by "The New York Times".',
    "common_voice_en_42238820": "Author Hunter S. Thompson remarked he was disappointed he was not on it.",
    "common_voice_en_42505992": (
        "Instead of favoring individuals with extreme phenotypes, it favors the intermediate variants."
    ),
}
CLIPS = list(TEXTS)


@pytest.fixture
def corpus(shared_data, tmp_path):
    """A function that writes a table of clips, given by their numbers, into the folder of English, which it returns."""
    folder = tmp_path / "cv-corpus-21.0-2025-03-14/en"
    (folder / "clips").mkdir(parents=True)
    for clip in CLIPS:
        shutil.copy(shared_data / f"commonvoice/en/clips/{clip}.mp3", folder / "clips")

    def write(part, *rows, columns=NEW):
        lines = ["\t".join(columns)]
        for row in rows:
            clip, cells = (row, {}) if isinstance(row, int) else row
            cells = {
                "client_id": f"{clip:0128x}",
                "path": f"{CLIPS[clip]}.mp3",
                "sentence": TEXTS[CLIPS[clip]],
                "up_votes": "2",
                "down_votes": "0",
                "locale": "en",
                **cells,
            }
            lines.append("\t".join(cells.get(name, "") for name in columns))
        (folder / f"{part}.tsv").write_text("\n".join(lines) + "\n", "utf-8")
        return folder

    return write


def prepared(source, **settings):
    ledger = Ledger()
    rows = list(prepare.run("commonvoice", str(source), Options(**settings), ledger))
    return rows, {row["id"]: row["reason"] for row in ledger.rows}, ledger


def test_the_table_of_the_shared_recordings(shared_data):
    rows, drops, _ = prepared(shared_data / "commonvoice")
    assert len(rows) == 40 and not drops
    assert sum(row["duration"] for row in rows) == pytest.approx(254.268)
    assert {row["lang"] for row in rows} == {"en"} and {row["split"] for row in rows} == {"train"}
    assert not any("speaker" in row for row in rows), "its client ids are unknown"


@pytest.mark.parametrize("columns", [OLD, NEW])
def test_the_published_layout(corpus, columns):
    details = {"age": "twenties", "gender": "female"}
    folder = corpus("train", (0, {**details, "accent": "us", "accents": "us"}), columns=columns)
    corpus("dev", 1, columns=columns)
    corpus("test", 2, columns=columns)
    corpus("validated", 0, 1, 2, 3, columns=columns)
    (folder / "invalidated.tsv").write_text("\t".join(columns) + "\n")
    for source in (folder, folder.parent):
        rows, drops, _ = prepared(source)
        assert not drops
        assert [(row["id"], row["split"]) for row in rows] == list(zip(CLIPS, ("train", "dev", "test"), strict=False))
    assert rows[0]["text"] == "her grave is located at the hietzing cemetery"
    assert rows[1]["text"] == "it was named a notable book of the year by the new york times"
    assert rows[0]["speaker"] == f"{0:0128x}"
    assert {name: rows[0][name] for name in ("age", "gender", "accent")} == {**details, "accent": "us"}
    assert rows[0]["audio_filepath"] == str(folder / f"clips/{CLIPS[0]}.mp3")
    assert not {"age", "gender", "accent"} & rows[1].keys()


def test_parts_are_tables_and_a_clip_that_several_list_is_taken_once(corpus):
    corpus("train", 0)
    folder = corpus("validated", 0, 1, 1)
    rows, drops, ledger = prepared(folder, part="train, validated.tsv")
    assert [(row["id"], row["split"]) for row in rows] == [(CLIPS[0], "train"), (CLIPS[1], "validated")]
    assert drops == {CLIPS[1]: "duplicate-id"}
    assert ledger.unselected == {"in-earlier-part": 1}
    assert [row["id"] for row in prepared(folder)[0]] == CLIPS[:1]


def test_a_language_without_the_usual_tables_has_its_validated_clips(corpus):
    corpus("other", 2)
    folder = corpus("validated", 0, 1)
    assert [row["split"] for row in prepared(folder)[0]] == ["validated"] * 2


def test_several_languages_keep_their_own_rules(corpus, shared_data):
    folder = corpus("train", 0)
    other = folder.parent / "tr"
    shutil.copytree(folder, other)
    shutil.move(other / f"clips/{CLIPS[0]}.mp3", other / "clips/common_voice_tr_1.mp3")
    table = "client_id\tpath\tsentence\tlocale\nabc\tcommon_voice_tr_1.mp3\tIĞDIR İLİ\ttr\n"
    (other / "train.tsv").write_text(table, "utf-8")
    rows, _, _ = prepared(folder.parent)
    assert [(row["lang"], row["text"][:5]) for row in rows] == [("en", "her g"), ("tr", "ığdır")]
    assert [row["lang"] for row in prepared(folder.parent, lang="tr")[0]] == ["tr"]
    with pytest.raises(UsageError, match=r"--lang de: not in .*, which has en, tr"):
        prepared(folder.parent, lang="de")


def test_votes_select_clips(corpus):
    folder = corpus("other", (0, {"up_votes": "1"}), (1, {"down_votes": "2"}), 2, (3, {"up_votes": "many"}))
    assert len(prepared(folder, part="other")[0]) == 3
    rows, drops, ledger = prepared(folder, part="other", min_up_votes=2, max_down_votes=1)
    assert [row["id"] for row in rows] == [CLIPS[2]]
    assert ledger.unselected == {"votes": 2}
    assert drops == {CLIPS[3]: "wrong-columns"}


def test_quotes_of_the_tables_are_read_as_pandas_wrote_them(corpus):
    quoted = '"It was named ""Book of the Year"" by ""The New York Times""."'
    folder = corpus("train", (1, {"sentence": quoted}), (2, {"sentence": '"Author" Hunter S. Thompson'}))
    assert [row["text"] for row in prepared(folder)[0]] == [
        "it was named book of the year by the new york times",
        "author hunter s thompson",
    ]


def test_bad_rows_are_dropped_by_reason(corpus):
    folder = corpus(
        "train",
        (0, {"sentence": "a tab\tin the text"}),
        (1, {"path": ""}),
        (2, {"sentence": ""}),
        (3, {"path": "common_voice_en_1.mp3"}),
    )
    table = folder / "train.tsv"
    bad_name = b"x\t\xff.mp3\t\tA word.\t\t0\t0" + b"\t" * 6
    table.write_bytes(table.read_bytes() + bad_name + b"\n")
    _, _, ledger = prepared(folder)
    assert [(row["id"], row["reason"]) for row in ledger.rows] == [
        (CLIPS[0], "wrong-columns"),
        (f"{table}:3", "no-audio-filepath"),
        (CLIPS[2], "no-text"),
        (f"{table}:6", "not-utf8"),
        ("common_voice_en_1", "missing-audio"),
    ]
    assert ledger.rows[0]["detail"] == f"{table}:2: up_votes must be a whole number, got '' (a tab in the sentence?)"


def test_a_clip_that_ends_early_is_found_by_the_list_of_durations(corpus):
    folder = corpus("train", 0, 1)
    durations = [f"{row['id']}.mp3\t{round(row['duration'] * 1000)}" for row in prepared(folder)[0]]
    full = (folder / f"clips/{CLIPS[0]}.mp3").read_bytes()
    (folder / f"clips/{CLIPS[0]}.mp3").write_bytes(full[: len(full) // 2])
    assert len(prepared(folder)[0]) == 2, "nothing else tells that it is truncated"
    (folder / "clip_durations.tsv").write_text("\n".join(["clip\tduration[ms]", *durations]) + "\n")
    assert prepared(folder)[1] == {CLIPS[0]: "truncated-audio"}


def test_folders_that_are_none_of_common_voice(corpus, tmp_path):
    folder = corpus("train", 0)
    for source, meant in ((folder / "clips", folder), (folder.parents[1], folder.parent)):
        with pytest.raises(DataError, match=rf"{source}: expected cv-corpus-VERSION, .* \(pass {meant}\)$"):
            prepared(source)
    with pytest.raises(DataError, match="no such folder, expected cv-corpus-VERSION"):
        prepared(tmp_path / "none")
    with pytest.raises(UsageError, match=r"--part dev: not in .*, which has train"):
        prepared(folder, part="train,dev")
    for content, message in (("", "the file is empty"), ("path\ttext\n", "train.tsv:1: no column client_id, sentence")):
        (folder / "train.tsv").write_text(content)
        with pytest.raises(DataError, match=message):
            prepared(folder)

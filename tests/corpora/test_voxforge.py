"""A miniature of VoxForge, made of utterances of ../shared/data/LibriSpeech."""

import pytest
import soundfile

from ds2cli.corpora.voxforge import Options, find_accent, find_speaker
from ds2cli.drops import Ledger
from ds2cli.errors import DataError, UsageError
from ds2cli.stages import prepare

README = """User Name:{user}\r
\r
Speaker Characteristics:\r
\r
Gender: {gender}\r
Age Range: Adult\r
Language: EN\r
{dialect}\r
\r
Recording Information:\r
\r
Microphone make: n/a\r
"""


@pytest.fixture
def submission(utterances, tmp_path):
    """A function that writes a submission with three prompts and returns its folder."""

    def write(name, dialect="American English", gender="Male", kind="wav", lists=("PROMPTS", "prompts-original")):
        folder = tmp_path / name
        (folder / "etc").mkdir(parents=True)
        (folder / kind).mkdir()
        texts = {}
        for number, (samples, text) in enumerate(utterances[:3], start=405):
            soundfile.write(folder / f"{kind}/a0{number}.{kind}", samples, 16000)
            texts[f"a0{number}"] = text
        prompts = "".join(f"{name}/mfc/{prompt} {text}\n" for prompt, text in texts.items())
        original = "".join(f"{prompt} {text.capitalize()}.\n" for prompt, text in texts.items())
        for file, content in (("PROMPTS", prompts), ("prompts-original", original)):
            if file in lists:
                (folder / "etc" / file).write_text(content)
        line = dialect if ":" in dialect else f"Pronunciation dialect: {dialect}"
        (folder / "etc/README").write_text(README.format(user=name.split("-")[0], gender=gender, dialect=line))
        return folder

    return write


def prepared(source, **settings):
    ledger = Ledger()
    rows = list(prepare.run("voxforge", str(source), Options(**settings), ledger))
    return rows, {row["id"]: row["reason"] for row in ledger.rows}, ledger


def test_the_published_layout(submission, utterances, tmp_path):
    folder = submission("1snoke-20120412-hge")
    submission("anonymous-20080425-fgh", "Indian English", "Female", "flac")
    rows, drops, _ = prepared(tmp_path)
    assert not drops
    assert [row["id"] for row in rows][:3] == [f"1snoke-20120412-hge-a0{number}" for number in (405, 406, 407)]
    assert rows[0]["text"] == utterances[0][1].lower()
    assert rows[0]["audio_filepath"] == str(folder / "wav/a0405.wav")
    names = ("speaker", "accent", "dialect", "gender", "age", "lang")
    assert [rows[0][name] for name in names] == [
        "1snoke",
        "American-Canadian",
        "American English",
        "male",
        "Adult",
        "en",
    ]
    assert [rows[3][name] for name in names[:4]] == ["anonymous-20080425-fgh", "Indian", "Indian English", "female"]


@pytest.mark.parametrize("kept", ["PROMPTS", "prompts-original"])
def test_one_of_the_lists_suffices(submission, utterances, tmp_path, kept):
    submission("ralf-20110101-abc", lists=(kept,))
    assert [row["text"] for row in prepared(tmp_path)[0]] == [text.lower() for _, text in utterances[:3]]


def test_what_the_first_list_lacks_is_in_the_second(submission, tmp_path):
    folder = submission("ralf-20110101-abc")
    (folder / "etc/PROMPTS").write_text("ralf-20110101-abc/mfc/a0405\tFROM THE FIRST\n\n")
    rows, _, _ = prepared(tmp_path)
    assert rows[0]["text"] == "from the first" and len(rows) == 3


@pytest.mark.parametrize(
    "dialect, group",
    [
        ("American English", "American-Canadian"),
        ("Canadian English", "American-Canadian"),
        ("British English", "Commonwealth"),
        ("Irish English", "Commonwealth"),
        ("Australian English", "Commonwealth"),
        ("New Zealand English", "Commonwealth"),
        ("Other - South African", "Commonwealth"),
        ("Indian English", "Indian"),
        ("European English", "European"),
        ("Other - German", "European"),
        ("Other - Chinese", None),
        ("Indonesian English", None),
        ("Other - Latin American", None),
        ("", None),
    ],
)
def test_accents_are_in_the_groups_of_the_paper(dialect, group):
    assert find_accent(dialect) == group


@pytest.mark.parametrize(
    "folder, speaker",
    [
        ("k-20090202-afe", "k"),
        ("a-b-20100101-xyz", "a-b"),
        ("Joel-20080716qxv", "Joel"),
        ("rortiz-01112007_poe1", "rortiz"),
        ("anonymous-20080425-fgh", "anonymous-20080425-fgh"),
        ("Anonymous-20080723-ive", "Anonymous-20080723-ive"),
        ("odd", "odd"),
    ],
)
def test_speakers_are_told_by_their_folders(folder, speaker):
    assert find_speaker(folder) == speaker


def test_accents_are_selected(submission, tmp_path):
    submission("a-20100101-aaa", "Pronunication dialect: British English")
    submission("b-20100101-bbb", "Indian English")
    submission("c-20100101-ccc", "Unknown")
    submission("d-20100101-ddd", "Native Speaker: No\r\n  first language: German")
    assert {row["speaker"]: row.get("accent") for row in prepared(tmp_path)[0]} == {
        "a": "Commonwealth",
        "b": "Indian",
        "c": None,
        "d": "European",
    }
    rows, drops, ledger = prepared(tmp_path, accent="Indian, commonwealth")
    assert {row["speaker"] for row in rows} == {"a", "b"} and not drops
    assert ledger.unselected == {"accent": 6}
    with pytest.raises(UsageError, match=r"--accent scottish: expected all, or some of american-canadian,"):
        prepared(tmp_path, accent="indian,Scottish")
    assert all("accent" not in row for row in prepared(tmp_path, lang="de")[0]), "the groups are those of English"


def test_what_is_broken_is_dropped_by_reason(submission, tmp_path):
    folder = submission("a-20100101-aaa")
    (folder / "wav/a0405.wav").unlink()
    with (folder / "etc/PROMPTS").open("ab") as f:
        f.write(b"x/mfc/a0500 M\xdcNCHEN\nx/mfc/a0501\n")
    (folder / "wav/a0407.wav").rename(folder / "wav/b0001.wav")
    (folder / "wav/a0501.wav").write_bytes((folder / "wav/a0406.wav").read_bytes())
    unlisted = submission("b c-20100101-bbb", lists=())
    (unlisted / "etc/README").unlink()
    (unlisted / "wav/a0405.wav").write_bytes(b"")
    rows, drops, ledger = prepared(tmp_path)
    assert [row["id"] for row in rows] == ["a-20100101-aaa-a0406"]
    assert drops == {
        "a-20100101-aaa-a0405": "missing-audio",
        "a-20100101-aaa-a0407": "missing-audio",
        "a-20100101-aaa-a0500": "not-utf8",
        "a-20100101-aaa-a0501": "no-text",
        "a-20100101-aaa-b0001": "no-text",
        **{f"b_c-20100101-bbb-a0{number}": "no-text" for number in (405, 406, 407)},
    }
    assert f"etc/PROMPTS:1: no a0405.wav or .flac in {folder}" in ledger.rows[0]["detail"]


def test_files_that_cannot_be_read_cost_their_submission(submission, tmp_path):
    folder = submission("a-20100101-aaa")
    (folder / "etc/README").unlink()
    (folder / "etc/README").mkdir()
    (submission("b-20100101-bbb") / "etc/PROMPTS").write_bytes(b"\x7fELF\0\0\0")
    rows, drops, _ = prepared(tmp_path)
    assert {row["speaker"] for row in rows} == {"a"} and not any("accent" in row for row in rows)
    assert drops == {"b-20100101-bbb": "unreadable-file"}


def test_a_submission_that_was_unpacked_twice_is_taken_once(submission, tmp_path):
    submission("one/a-20100101-aaa")
    submission("two/a-20100101-aaa")
    rows, drops, _ = prepared(tmp_path)
    assert len(rows) == 3 and set(drops.values()) == {"duplicate-id"}


def test_folders_that_are_none_of_voxforge(submission, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no SPEAKER-DATE-XXX/etc/PROMPTS in this folder, expected that of VoxForge$"):
        prepared(tmp_path / "empty")
    (tmp_path / "etc").mkdir()
    with pytest.raises(DataError, match=r"expected that of VoxForge$"):
        prepared(tmp_path / "empty")
    (tmp_path / "empty/a-20100101-aaa.tgz").touch()
    with pytest.raises(DataError, match=r"\(unpack the archives: for f in"):
        prepared(tmp_path / "empty")
    with pytest.raises(DataError, match="no such folder"):
        prepared(tmp_path / "none")
    folder = submission("a-20100101-aaa")
    with pytest.raises(DataError, match=rf"\(pass {folder}\)$"):
        prepared(folder / "wav")
    rows, _, _ = prepared(folder)
    assert rows[0]["id"] == "a-20100101-aaa-a0405", "SRC may be a submission itself"

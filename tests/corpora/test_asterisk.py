import gzip
import re
import shutil
from collections import Counter

import pytest

from ds2cli.config.base import build
from ds2cli.corpora.asterisk import Options, assign_part, download, find_files, prepare, spoken_text
from ds2cli.drops import Ledger
from ds2cli.errors import BadUtterance, DataError, Ds2Error, UsageError
from ds2cli.stages import prepare as stage

LIST = """; Core Asterisk Sounds in English
  ; note: every entry is a name and a text

agent-pass: Please enter your password followed by the pound key.
beep: [this is a simple beep tone]
digits/1: one
digits/a-m: A.M.
letters/at: at [@]
silence/1: (1 second of silence)
vanished: This recording is not there.
vm-intro: Please leave your message after the tone. (simple tone sound plays)
vm-intro: Please leave your message.
"""


@pytest.fixture
def tree(tmp_path, shared_data):
    """The layout of the unpacked Debian packages, of one real recording under several names."""
    raw = next((shared_data / "asterisk/g722-raw").glob("*.g722"))
    voice = tmp_path / "usr/share/asterisk/sounds/en_US_f_Allison"
    for name in ("agent-pass", "beep", "digits/1", "digits/a-m", "letters/at", "silence/1", "vm-intro", "unlisted"):
        (voice / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(raw, voice / f"{name}.g722")
    texts = tmp_path / "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
    texts.parent.mkdir(parents=True)
    texts.write_bytes(gzip.compress(LIST.encode()))
    return tmp_path


def test_rows_and_drops(tree):
    ledger = Ledger()
    rows = list(stage.run("asterisk", str(tree), Options(), ledger))
    assert [(r["id"], r["text"]) for r in rows] == [
        ("en_US_f_Allison-agent-pass", "please enter your password followed by the pound key"),
        ("en_US_f_Allison-digits-1", "one"),
        ("en_US_f_Allison-digits-a-m", "a m"),
        ("en_US_f_Allison-letters-at", "at"),
        ("en_US_f_Allison-vm-intro", "please leave your message after the tone"),
    ]
    assert {r["id"].removeprefix("en_US_f_Allison-"): r["reason"] for r in ledger.rows} == {
        "beep": "not-speech",
        "silence-1": "not-speech",
        "vanished": "no-recording",
        "unlisted": "no-text",
        "vm-intro": "duplicate-id",
    }
    assert ledger.bad == 0
    row = rows[0]
    assert row["audio_filepath"].endswith("sounds/en_US_f_Allison/agent-pass.g722")
    assert row["duration"] == pytest.approx(52562 / 16000)
    assert (row["speaker"], row["lang"], row["sample_rate"]) == ("en_US_f_Allison", "en", 16000)


def test_linked_folders_are_found_and_what_cannot_be_read_is_named(tree, tmp_path_factory):
    linked = tmp_path_factory.mktemp("linked") / "corpus"
    (linked / "sounds").mkdir(parents=True)
    (linked / "texts").symlink_to(tree / "usr/share/doc")
    (linked / "sounds/en_link").symlink_to(tree / "usr/share/asterisk/sounds/en_US_f_Allison")
    (linked / "sounds/en_lost").symlink_to("/missing/en_lost")
    ledger = Ledger()
    rows = list(prepare(str(linked), Options(), ledger))
    assert {row["speaker"] for row in rows} == {"en_link"} and len(rows) == 5
    assert [row["id"] for row in ledger.rows if row["bad"]] == [str(linked / "sounds/en_lost")]


def test_the_layout_of_the_upstream_tarball(tree, tmp_path_factory):
    flat = tmp_path_factory.mktemp("flat") / "sounds"
    shutil.copytree(tree / "usr/share/asterisk/sounds/en_US_f_Allison", flat)
    (flat / "core-sounds-en.txt").write_text("\ufeff" + LIST, "utf-8")
    rows = list(prepare(str(flat.parent), Options(), Ledger()))
    assert len(rows) == 5
    assert rows[0]["id"] == "asterisk-en-agent-pass"


def test_parts_are_disjoint_and_complete(tree):
    def ids(part):
        return [r["id"] for r in prepare(str(tree), Options(part=part), Ledger())]

    assert sorted(ids("train") + ids("dev") + ids("test")) == sorted(ids("all"))
    with pytest.raises(UsageError, match="part: expected one of all, train, dev, test, got 'training'"):
        build(Options, ("command line", {"part": "training"}))


def test_the_split_never_changes():
    # a changed rule would move recordings that a model was trained on into the test set
    assert [assign_part(text) for text in ("one", "please try again", "goodbye", "activated", "hello world")] == [
        "train",
        "test",
        "test",
        "test",
        "train",
    ]
    shares = Counter(assign_part(f"text {i}") for i in range(5000))
    assert shares["train"] / 5000 == pytest.approx(0.8, abs=0.03)
    assert shares["dev"] / 5000 == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(
    "name, text, lang, expected",
    [
        ("x", "Press 2 to exit, or * or #.", "en", "press two to exit or star or pound"),
        ("x", "extension 1234", "en", "extension one two three four"),
        ("letters/space", "space [ ]", "en", "space"),
        ("x", 'IAX (note: does not say "2")', "en", "iax"),
        ("x", "mute or umute", "en", "mute or unmute"),
        ("x", "thru a thrush", "en", "through a thrush"),
        ("x", "Marque 3. Está ahora", "es", "marque tres esta ahora"),
        ("x", "Appuyez sur 1 à l'été", "fr", "appuyez sur un à l'été"),
    ],
)
def test_spoken_text(name, text, lang, expected):
    assert spoken_text(name, text, lang) == expected


@pytest.mark.parametrize(
    "name, text, reason",
    [
        ("x", "", "no-text"),
        ("x", "...", "no-text"),
        ("x", "<beep ascending>", "not-speech"),
        ("x", "[ tono de error ]", "not-speech"),
        ("x", "Sus saludos [temporales] estan", "unsure-text"),
        ("x", "marque # ahora", "unsure-text"),
        ("spy-h323", "H.323", "unsure-text"),
        ("x", "a € b", "symbols"),
    ],
)
def test_texts_excluded_by_rule(name, text, reason):
    with pytest.raises(BadUtterance) as e:
        spoken_text(name, text, "es")
    assert e.value.reason == reason


def test_a_text_too_long_for_its_recording(tree):
    texts = next(tree.rglob("*.txt.gz"))
    texts.write_bytes(gzip.compress(f"agent-pass: {'many words ' * 20}\n".encode()))
    ledger = Ledger()
    assert not list(prepare(str(tree), Options(), ledger))
    assert ledger.reasons["unsure-text"] == 1


def test_missing_files_name_the_fix(tmp_path, tree):
    with pytest.raises(DataError, match=re.escape("--download")):
        find_files(tmp_path / "none", "en")
    with pytest.raises(DataError, match=r"core-sounds-es.txt\[.gz\]"):
        find_files(tree, "es")
    shutil.rmtree(tree / "usr/share/asterisk")
    with pytest.raises(DataError, match="no recordings of 'en'"):
        find_files(tree, "en")


def test_download_skips_existing_files(tree, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    download(str(tree), "en")
    assert len(list(prepare(str(tree), Options(download=True), Ledger()))) == 5


def test_download_without_apt_names_the_alternative(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Ds2Error, match=r"apt-get not found.*pass it as SRC"):
        download(str(tmp_path / "new"), "en")
    with pytest.raises(Ds2Error, match="apt-get not found"):
        list(prepare(str(tmp_path / "new"), Options(download=True), Ledger()))


def test_download_runs_apt_and_unpacks(tmp_path, tree, monkeypatch):
    """A fake apt-get fails without package lists, as on a new machine, until it is asked to update them."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "apt-get").write_text(
        '#!/bin/sh\ncase "$*" in *update*) exit 0;; *Dir::State*) touch asterisk-core-sounds-en_1.deb '
        "asterisk-core-sounds-en-g722_1.deb;; *) echo 'E: Unable to locate package' >&2; exit 100;; esac\n"
    )
    (bin_ / "dpkg-deb").write_text(f'#!/bin/sh\necho "${{2##*/}}" >> {tmp_path}/unpacked\ncp -r {tree}/usr .\n')
    for program in bin_.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:/usr/bin:/bin")
    new = tmp_path / "new"
    # as left by a run that was killed while unpacking
    shutil.copytree(tree / "usr", new / ".unpacking/usr")
    with pytest.raises(DataError, match="no text list"):
        find_files(new, "en")
    download(str(new), "en")
    assert find_files(new, "en")[0].is_relative_to(new / "asterisk-core-sounds-en")
    packages = [f"asterisk-core-sounds-en{kind}_1.deb" for kind in ("", "-g722")]
    assert (tmp_path / "unpacked").read_text().split() == packages
    assert sorted(p.name for p in new.iterdir() if p.suffix != ".deb") == ["asterisk-core-sounds-en"]
    shutil.rmtree(new / "asterisk-core-sounds-en/usr/share/doc")
    with pytest.raises(DataError, match=r"asterisk-core-sounds-en: this folder has no text list.*remove it"):
        download(str(new), "en")


def test_prompts_with_the_same_text_are_in_the_same_part(tree):
    names = ("agent-pass", "beep", "digits/1", "digits/a-m", "letters/at", "silence/1", "vm-intro", "unlisted")
    (texts,) = tree.rglob("*.txt.gz")
    for text, part in (("Goodbye!", "test"), ("one", "train")):
        texts.write_bytes(gzip.compress("".join(f"{name}: {text}\n" for name in names).encode()))
        rows = list(prepare(str(tree), Options(), Ledger()))
        assert len(rows) == len(names) and {row["split"] for row in rows} == {part}


@pytest.mark.parametrize(("characters", "kept"), [(22, 1), (23, 0)])
def test_a_prompt_may_have_22_characters_per_second(tree, characters, kept):
    (recording,) = tree.rglob("agent-pass.g722")
    recording.write_bytes(bytes(8000))  # one second
    next(tree.rglob("*.txt.gz")).write_bytes(gzip.compress(f"agent-pass: {'a' * characters}\n".encode()))
    assert len(list(prepare(str(tree), Options(), Ledger()))) == kept


def test_each_voice_has_its_rows(tree):
    (voice,) = tree.rglob("en_US_f_Allison")
    shutil.copytree(voice, voice.with_name("en_AU_f_Other"))
    rows = list(prepare(str(tree), Options(), Ledger()))
    for speaker in ("en_US_f_Allison", "en_AU_f_Other"):
        ids = [row["id"] for row in rows if row["speaker"] == speaker]
        assert len(ids) == 5 and all(name.startswith(f"{speaker}-") for name in ids)
    assert len(rows) == 10


def test_spanish_entries_under_a_wrong_name_belong_to_their_prompts(tmp_path, shared_data):
    raw = next((shared_data / "asterisk/g722-raw").glob("*.g722"))
    for name in ("0", "10", "1F"):
        (tmp_path / "es_MX_f_x/digits").mkdir(parents=True, exist_ok=True)
        shutil.copy(raw, tmp_path / f"es_MX_f_x/digits/{name}.g722")
    (tmp_path / "core-sounds-es.txt").write_text("digits/0: cero\ndigits/0: diez\ndigits/1f: una\n")
    ledger = Ledger()
    rows = list(prepare(str(tmp_path), Options(lang="es"), ledger))
    assert {row["id"].removeprefix("es_MX_f_x-digits-"): row["text"] for row in rows} == {
        "0": "cero",
        "10": "diez",
        "1F": "una",
    }
    assert not ledger.rows


def test_a_list_that_is_not_utf8_is_an_error(tree):
    next(tree.rglob("*.txt.gz")).write_bytes(gzip.compress(b"agent-pass: caf\xe9\n"))
    with pytest.raises(DataError, match=r"core-sounds-en\.txt\.gz:1: not UTF-8, perhaps Windows-1252 for 'café'"):
        list(prepare(str(tree), Options(), Ledger()))


def test_the_packages_of_the_language_are_fetched_and_the_error_of_apt_is_shown(tmp_path, monkeypatch):
    script = '#!/bin/sh\necho W: old >&2\ncase "$*" in *update*) exit 0;; esac\necho "E: no $*" >&2\nexit 100\n'
    (tmp_path / "apt-get").write_text(script)
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    packages = "asterisk-core-sounds-it asterisk-core-sounds-it-g722"
    with pytest.raises(Ds2Error, match=rf"^asterisk: apt-get failed: E: no .*download {packages} \("):
        list(prepare(str(tmp_path / "new"), Options(download=True, lang="it"), Ledger()))

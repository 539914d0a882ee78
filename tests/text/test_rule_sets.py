"""The named rule sets: what each does with each dimension of a text, and what the documents say of them."""

import gzip
import re
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds2cli.config.data import FixConfig
from ds2cli.config.text import RulesOption
from ds2cli.errors import BadUtterance
from ds2cli.text.normalize import TextRules, normalize
from ds2cli.text.rule_sets import RULE_SETS, SOURCES, Name, hash_rules

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "ds2cli/cli/README.md").read_text("utf-8")
TRANSCRIPTS = ROOT.parent / "shared/data/text/librispeech-dev-clean.trans.txt.gz"
LANGUAGES = ["en", "de", "tr", "fr", "zh", "ru", "hi", "ja", "he", "ca", "fa", "ko", "uz", "it", "xx"]
PIECES = [
    *"''’‘`()[]<>{}*-–—.,!?;: 0aAiIıİs·״\"«»“”„5%_/ʻ‚…。，、！？「」€&#+=^~؟।    ",
    *("\u200c", "\u200d", "\u0307", "\u0301", "می", "क्", "ष", "漢", "字", "ｶﾞ", "ﬁ", "ＯＫ", "３", "\x07", "\n", "\xa0"),
    *("tis", "'em", "o'", "L'", "Boys'", "Ünder", "İzmir", "ß", "12", "3.", "1,000", "--", "...", " - ", "uh", "Um"),
    *("[laughter]", "(cough)", "uh-huh", "mm hmm", "嗯", "呃", "えーと", "äh", "euh", "ııı", "हम्म", "эм", "th[at]-"),
    *("-[an]y", "[laughter-yes]", "them_1", "%uh"),
]


def rules(name, lang="en", **settings):
    return TextRules.of(FixConfig(text_rules=name, lang=lang, **settings))


def write(name, text, lang="en", **settings):
    return rules(name, lang, **settings).normalize(text)


def reason(name, text, lang="en", **settings):
    with pytest.raises(BadUtterance) as e:
        write(name, text, lang, **settings)
    return e.value.reason


def test_the_names_are_those_of_the_option():
    hint = get_type_hints(RulesOption)["text_rules"]
    assert tuple(RULE_SETS) == get_args(hint) == get_args(Name)


def test_the_documents_show_what_each_set_writes():
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| `(.*)` \| `(.*)` \|$", TABLE, re.MULTILINE)
    assert {name for name, *_ in rows} == set(RULE_SETS)
    assert [(*row[:3], write(row[0], row[2], row[1])) for row in rows] == rows


def test_the_documents_list_what_each_set_does():
    words = {"lower": "lower", "keep": "kept", "remove": "removed", "unify": "in one form", "refuse": "drop the text"}
    words |= {"sounds": "sounds removed", "spell": "spelled"}
    for name, rule_set in RULE_SETS.items():
        cells = [words[getattr(rule_set, f.name)] for f in fields(rule_set)[1:]]
        assert f"| `{name}` | {' | '.join(cells)} |" in TABLE


LINES = {
    # language: text, and what letters, cased, written, conversation and keep write
    "en": (
        "Well, uh, it’s O’Neill’s — “OK”!",
        [
            "well uh it's o'neill's ok",
            "Well uh it's O'Neill's OK",
            "Well, uh, it's O'Neill's - \"OK\"!",
            "well it's o'neill's ok",
            "Well, uh, it’s O’Neill’s — “OK”!",
        ],
    ),
    "de": (
        "Ähm, „Straße“ – ÜBER Nacht…",
        [
            "ähm straße über nacht",
            "Ähm Straße ÜBER Nacht",
            'Ähm, "Straße" - ÜBER Nacht...',
            "straße über nacht",
            "Ähm, „Straße“ – ÜBER Nacht…",
        ],
    ),
    "tr": (
        "Iıı, IŞIK İzmir’de: güzel!",
        [
            "ııı ışık izmir'de güzel",
            "Iıı IŞIK İzmir'de güzel",
            "Iıı, IŞIK İzmir'de: güzel!",
            "ışık izmir'de güzel",
            "Iıı, IŞIK İzmir’de: güzel!",
        ],
    ),
    "fr": (
        "« Euh, l’été ? » dit Œdipe",
        [
            "euh l'été dit œdipe",
            "Euh l'été dit Œdipe",
            '"Euh, l\'été?" dit Œdipe',
            "l'été dit œdipe",
            "« Euh, l’été ? » dit Œdipe",
        ],
    ),
    "zh": (
        "嗯， 我 要 唱 卡拉ＯＫ 。",
        ["嗯我要唱卡拉ok", "嗯我要唱卡拉OK", "嗯，我要唱卡拉OK。", "我要唱卡拉ok", "嗯， 我 要 唱 卡拉ＯＫ 。"],
    ),
    "ru": (
        "Эм, «Привет» — МИР…",
        ["эм привет мир", "Эм Привет МИР", 'Эм, "Привет" - МИР...', "привет мир", "Эм, «Привет» — МИР…"],
    ),
    "hi": (
        "हम्म, नमस्ते। ठीक है?",
        ["हम्म नमस्ते ठीक है", "हम्म नमस्ते ठीक है", "हम्म, नमस्ते। ठीक है?", "नमस्ते ठीक है", "हम्म, नमस्ते। ठीक है?"],
    ),
}


@pytest.mark.parametrize("lang", LINES)
def test_each_set_in_each_language(lang):
    text, expected = LINES[lang]
    assert [write(name, text, lang) for name in RULE_SETS] == expected
    for name, clean in zip(RULE_SETS, expected, strict=True):
        assert write(name, clean, lang) == clean


def test_the_default_has_the_rules_of_letters():
    assert TextRules.of(FixConfig()) == TextRules(has_options=True) == rules("letters")
    for text, lang in [("“It’s”, ÉTÉ!", "en"), ("IŞIK", "tr")]:
        assert write("letters", text, lang) == normalize(text, lang)


@pytest.mark.parametrize("name", RULE_SETS)
def test_bytes_that_could_not_be_decoded_are_refused_by_all_sets(name):
    assert reason(name, "caf\udce9") == reason(name, "caf\ufffd") == "not-utf8"
    with pytest.raises(BadUtterance, match="expected the code of a language"):
        rules(name).normalize("É", "no language")


def test_numbers_by_set_and_option():
    text = "Room 5."
    assert reason("letters", text) == reason("cased", text) == "digits"
    assert write("written", text) == write("keep", text) == text
    assert write("conversation", text) == "room five"
    for name, spelled in (
        ("letters", "room five"),
        ("cased", "Room five"),
        ("written", "Room five."),
        ("keep", "Room five."),
    ):
        assert write(name, text, numbers="spell") == spelled
        assert reason(name, text, numbers="refuse") == "digits"
    assert reason("conversation", text, numbers="refuse") == "digits"
    assert write("letters", "Raum ５, 12", numbers="keep") == "raum 5 12"
    for number in ("3.5", "1,000", "10:30", "-5", "1/2"):
        assert reason("letters", f"it is {number}", numbers="keep") == "digits"
    assert reason("letters", "5 %", numbers="keep") == "symbols"


def test_tags_by_set_and_option():
    text = "[Laughter] It is (my dear) [x]"
    for name in ("letters", "cased", "written", "conversation"):
        assert reason(name, text) == "tags"
    assert write("letters", text, remove_tags="laughter, x") == "it is my dear"
    assert write("written", text, remove_tags="laughter, x") == "It is (my dear)"
    assert write("conversation", text, remove_tags="x") == "it is my dear"
    assert write("keep", text) == text
    assert write("keep", text, remove_tags="x") == "[Laughter] It is (my dear)"
    assert write("keep", "[[x] x]", remove_tags="x") == ""


def test_keep_changes_only_what_cannot_be_seen():
    kept = "ＯＫ, “so” <b> * ½ ™ ♪ … — {x} \\ a_b ٣ 'tis"
    assert write("keep", kept) == kept
    assert write("keep", " cafe\u0301\r\n\tco\xadop\x00\ufeff  a\u2028b\x85c ") == "café coop a b c"
    assert write("keep", "می\u200cخواهم a\u200cb", "fa") == "می\u200cخواهم ab"
    assert write("keep", "") == write("keep", " \u200b") == ""


@pytest.mark.parametrize("name", RULE_SETS)
def test_empty_texts_stay_empty(name):
    assert write(name, "") == write(name, "  \n") == ""


def test_texts_of_punctuation_have_no_words():
    assert [write(name, "... !") for name in RULE_SETS] == ["", "", "", "", "... !"]


@pytest.mark.parametrize("name", RULE_SETS)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=12).map("".join), st.sampled_from(LANGUAGES), st.data())
def test_what_a_set_has_written_does_not_change(name, text, lang, data):
    numbers = data.draw(st.sampled_from([None, "refuse", "spell", "keep"]))
    chosen = rules(name, lang, numbers=numbers, remove_tags=data.draw(st.sampled_from(["", "laughter, a"])))
    try:
        clean = chosen.normalize(text)
    except BadUtterance:
        return
    assert chosen.normalize(clean) == clean == " ".join(clean.split())


@pytest.mark.parametrize("name", RULE_SETS)
@given(st.text(max_size=20), st.sampled_from(LANGUAGES))
def test_any_text_is_written_or_refused_with_a_reason(name, text, lang):
    try:
        clean = write(name, text, lang)
    except BadUtterance as e:
        assert re.fullmatch("[a-z0-9-]+", e.reason) and (name != "keep" or e.reason == "not-utf8")
        return
    assert write(name, clean, lang) == clean


def test_transcripts_of_read_speech():
    """Of LibriSpeech, in capitals without punctuation: all sets read all of them, and most agree."""
    if not TRANSCRIPTS.exists():
        pytest.skip("no ../shared/data/text")
    with gzip.open(TRANSCRIPTS, "rt", encoding="utf-8") as f:
        lines = [line.split(" ", 1)[1].strip() for line in f][:500]
    for line in lines:
        assert write("letters", line) == line.lower()
        assert write("cased", line) == write("written", line) == write("keep", line) == line
        assert line.lower().split()[-1] in write("conversation", line)


def test_the_hash_is_that_of_all_modules_that_have_rules():
    folder = ROOT / "ds2cli/text"
    for name in SOURCES:
        found = re.findall(
            r"^from ds2cli\.text\.(\w+) import", (folder / f"{name}.py").read_text("utf-8"), re.MULTILINE
        )
        assert set(found) <= set(SOURCES), name
    assert re.fullmatch("[0-9a-f]{64}", hash_rules())

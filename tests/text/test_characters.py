"""Characters that look alike or cannot be seen."""

import sys
import unicodedata

import pytest

from ds2cli.text.characters import INVISIBLE, find_invisible, is_letter, unify
from ds2cli.text.profiles import find_profile


@pytest.mark.parametrize(
    "code",
    [
        8203,
        8206,
        8207,
        8234,
        8238,
        8288,
        8294,
        8297,
        65279,
        173,
        1564,
        847,
        65039,
        65024,
        6158,
        12644,
        4447,
        917505,
        917760,
        8204,
        8205,
    ],
)
def test_invisible_characters_are_removed(code):
    text = f"gro{chr(code)}ße{chr(code)} {chr(code)}x"
    assert unify(text) == "große x"
    assert find_invisible(text) == [chr(code)] * 3


def test_every_format_character_is_invisible_or_refused_elsewhere():
    """Format characters that remain are visible signs, such as the Arabic sign of a year, or joiners."""
    formats = {c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) == "Cf"}
    kept = {c for c in formats if not INVISIBLE.match(c)} - set("\u200c\u200d")
    assert all(
        unicodedata.name(c, "").split()[0] in {"ARABIC", "SYRIAC", "KAITHI", "EGYPTIAN", "INTERLINEAR"} for c in kept
    )


@pytest.mark.parametrize(
    "text, unified",
    [
        ("ﬁnal ﬂight", "final flight"),
        ("ＡＢＣ　ｄ", "ABC d"),
        ("𝒽𝓮𝕝𝖑𝗈", "hello"),
        ("ǆ Ĳ ŉ ſ", "dž IJ ʼn s"),
        ("ｶﾞｷﾞ", "ガギ"),
        ("ﻛﺘﺎﺏ", "كتاب"),
        ("ﻻ", "لا"),
        ("⼈", "人"),
        ("cafe\u0301", "café"),
        ("non\u2011breaking\u00a0space", "non\u2010breaking space"),
        ("كتـــاب", "كتاب"),
        ("นํา", "นำ"),
    ],
)
def test_compatibility_characters_become_the_letters_that_they_stand_for(text, unified):
    assert unify(text) == unified
    assert unify(unified) == unified


@pytest.mark.parametrize("text", ["և", "นำ", "ຫຳ ໜ", "ㅋㅋ", "m²", "½", "™", "№", "①", "℃", "㎏", "ªº", "Ⅳ", "ʰ", "…"])
def test_letters_of_todays_spelling_and_what_is_read_in_other_words_stay(text):
    expected = {"…": "..."}.get(text, text)
    assert unify(text) == expected


@pytest.mark.parametrize(
    "lang, text",
    [
        ("fa", "می\u200cخواهم"),
        ("fa", "خانه\u200cها"),
        ("fa", "نامه\u200cای"),
        ("en", "می\u200cروم"),
        ("ps", "کتاب\u200cونه"),
        ("hi", "श्रीमान्\u200cको"),
        ("hi", "क्\u200dष"),
        ("mr", "दुसऱ्\u200dया"),
        ("ne", "गर्\u200dयो"),
        ("bn", "র\u200d্যাব"),
        ("si", "ශ්\u200dරී"),
        ("kn", "ರಾಜ್\u200cಕುಮಾರ್"),
    ],
)
def test_joiners_stay_where_they_spell(lang, text):
    assert unify(text, find_profile(lang)) == text
    assert find_invisible(text) == []


@pytest.mark.parametrize(
    "lang, text, unified",
    [
        ("fa", "کار\u200cها", "کارها"),
        ("fa", "\u200cکتاب\u200c و", "کتاب و"),
        ("fa", "می\u200c\u200cخواهم", "می\u200cخواهم"),
        ("fa", "می\u200dخواهم", "میخواهم"),
        ("ar", "مي\u200cخ", "ميخ"),
        ("hi", "न\u200cम", "नम"),
        ("hi", "श्रीमान्\u200c", "श्रीमान्"),
        ("de", "Auf\u200clage", "Auflage"),
        ("en", "x\u200dy", "xy"),
    ],
)
def test_joiners_that_spell_nothing_are_removed(lang, text, unified):
    assert unify(text, find_profile(lang)) == unified


@pytest.mark.parametrize(
    "lang, text, unified",
    [
        ("fa", "مي كتاب", "می کتاب"),
        ("ur", "كتابي", "کتابی"),
        ("ar", "كتابي", "كتابي"),
        ("ro", "Ţară şi", "Țară și"),
        ("tr", "şi", "şi"),
        ("ml", "അവന്\u200d", "അവൻ"),
        ("he", "צ׳ק", "צ'ק"),
    ],
)
def test_a_language_has_one_spelling_for_a_letter(lang, text, unified):
    assert unify(text, find_profile(lang)) == unified


@pytest.mark.parametrize("lang", ["en", "fa", "ml"])
def test_a_unified_text_does_not_change(lang):
    """For every letter, mark and punctuation of the planes that people write in."""
    letters = [c for c in map(chr, range(0x11000)) if unicodedata.category(c)[0] in "LMPZ"]
    text = unify(" ".join(letters), find_profile(lang))
    assert unify(text, find_profile(lang)) == text


def test_letters():
    assert all(map(is_letter, "aé我〇ん\u0301\u094dʻ")) and not any(map(is_letter, "1²' -\u200c_"))

"""Punctuation in one form."""

import pytest

from ds2cli.errors import BadUtterance
from ds2cli.text.normalize import TextRules
from ds2cli.text.rule_sets import RULE_SETS


def write(text, lang="en", numbers="keep"):
    return TextRules(lang, numbers, rule_set=RULE_SETS["written"]).normalize(text)


@pytest.mark.parametrize(
    "text, written",
    [
        ("“Hi,” she said. „So“ ‟a‟ «b» ‹c›", '"Hi," she said. "So" "a" "b" "c"'),
        ("‘Hi,’ she said. 'Tis the boys’ rock ’n’ roll", '"Hi," she said. \'Tis the boys\' rock "n" roll'),
        ("It’s O`Neill´s '90s, 5'10\" tall", "It's O'Neill's '90s, 5'10\" tall"),
        ("wait—what – no -- yes - or ― so", "wait - what - no - yes - or - so"),
        ("— Hello", "- Hello"),
        ("pages 5–6, well‑known re‐do −5", "pages 5-6, well-known re-do -5"),
        ("and… so.. it . . . ends....", "and... so... it... ends..."),
        ("What ?!  No !! Why ??? a , b ; c : d .", "What?! No! Why? a, b; c: d."),
        ("( in brackets ) and (more)", "(in brackets) and (more)"),
        ("5 % of $3.50, €2 & #1 @ 20 °C, § 4", "5 % of $3.50, €2 & #1 @ 20 °C, § 4"),
        ("snake_case", "snake case"),
        ("１２ ｆｕｌｌ", "12 full"),
        ("...", ""),
        ("¿Qué? ¡Sí!", "¿Qué? ¡Sí!"),
    ],
)
def test_one_form(text, written):
    assert write(text) == written
    assert write(written) == written


@pytest.mark.parametrize(
    "lang, text, written",
    [
        ("fr", "« Bonjour » : l’été ! « Oui »", '"Bonjour": l\'été! "Oui"'),
        ("de", "»Ja« und „nein“", '"Ja" und "nein"'),
        ("he", 'צה"ל "שלום"', 'צה״ל "שלום"'),
        ("ca", "El col·legi", "El col·legi"),
        ("ar", "نعم ، لا ؟", "نعم، لا؟"),
        ("hi", "ठीक है ।", "ठीक है।"),
        ("zh", "你 好, 世界. 好吗?不……(是)——对;OK, OK.", "你好，世界。好吗？不……（是）——对；OK, OK."),
        ("zh", "３.５ 元，《书》「好」", "3.5元，《书》「好」"),
        ("ja", "今日は,晴れ ?", "今日は，晴れ？"),
    ],
)
def test_forms_of_languages(lang, text, written):
    assert write(text, lang) == written
    assert write(written, lang) == written


@pytest.mark.parametrize(
    "text, reason",
    [
        ("a * b", "symbols"),
        ("♪ la", "symbols"),
        ("a\x00b", "symbols"),
        ("[noise] a", "tags"),
        ("a < b", "symbols"),
        ("(laughs) a", "tags"),
        ("employee(s)", "symbols"),
        ("caf\ufffd", "not-utf8"),
        ("x ^ y", "symbols"),
    ],
)
def test_what_is_refused(text, reason):
    with pytest.raises(BadUtterance) as e:
        write(text)
    assert e.value.reason == reason


def test_numbers():
    assert write("Room 5, please.", numbers="spell") == "Room five, please."
    for text in ("Room 5.", "½ cup", "x²"):
        with pytest.raises(BadUtterance, match="write numbers as spoken"):
            write(text, numbers="refuse")

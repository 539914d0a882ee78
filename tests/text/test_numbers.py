import pytest

from ds2cli.errors import BadUtterance
from ds2cli.text.numbers import spell_numbers


@pytest.mark.parametrize(
    "text, lang, spoken",
    [
        ("press 1 now, or 12.", "en", "press one now, or twelve ."),
        ("dial 500", "en", "dial five hundred"),
        ("extension 1234", "en", "extension one two three four"),
        ("room 007", "en", "room zero zero seven"),
        ("a 28.8 kilobit modem", "en", "a twenty-eight point eight kilobit modem"),
        ("3D audio", "en", "three D audio"),
        ("press 1, then 2", "en", "press one, then two"),
        ("after 2,5 km", "en", "after two point five km"),
        ("pi is 3.1415", "en", "pi is three point one four one five"),
        ("marque 1 o 21", "es", "marque uno o veintiuno"),
        ("appuyez sur 2", "fr", "appuyez sur deux"),
        ("premere 9", "it", "premere nove"),
        ("нажмите 4", "ru", "нажмите четыре"),
        ("no numbers  here", "en", "no numbers  here"),
        ("", "en", ""),
    ],
)
def test_numbers_are_written_as_spoken(text, lang, spoken):
    assert spell_numbers(text, lang) == spoken


def test_an_unsupported_language():
    with pytest.raises(BadUtterance, match=r"digits: .*'xx' are not supported"):
        spell_numbers("9", "xx")
    assert spell_numbers("none", "xx") == "none"


@pytest.mark.parametrize("text", ["1,000 dollars", "1.000 euros", "1,234,567", "12.05.2020"])
def test_ambiguous_numbers_are_refused(text):
    with pytest.raises(BadUtterance, match="ambiguous"):
        spell_numbers(text, "en")

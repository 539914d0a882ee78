import pytest

from ds2cli.errors import BadUtterance
from ds2cli.text.normalize import normalize


@pytest.mark.parametrize(
    "text, clean",
    [
        ("", ""),
        ("   ", ""),
        ("...!?", ""),
        ("Hello, World!", "hello world"),
        ("it’s o’clock", "it's o'clock"),
        ("'quoted' words", "quoted words"),
        ("rock 'n' roll", "rock n roll"),
        ("the boys' room", "the boys' room"),
        ("to-day\tand\r\nnow", "to day and now"),
        ("cafe\u0301", "café"),
        ("ÉTÉ", "été"),
        ("Привет, МИР", "привет мир"),
        ("¿Qué?", "qué"),
        ("你好，世界", "你好 世界"),
        ("\ufeffbom", "bom"),
        ("co\xadop", "coop"),
        ("zero\u200bwidth", "zerowidth"),
        ("non\xa0breaking", "non breaking"),
        ("'tis the season", "'tis the season"),
        ("a '' b", "a b"),
        ("हिन्दी", "हिन्दी"),
        *((f"it{apostrophe}s", "it's") for apostrophe in "'’ʼ‘`´＇"),
    ],
)
def test_normalize(text, clean):
    assert normalize(text) == clean
    assert normalize(clean) == clean


@pytest.mark.parametrize(
    "text, reason",
    [("room 5", "digits"), ("a + b", "symbols"), ("5 €", "digits"), ("x\x00", "symbols")]
    + [("½ cup", "digits"), ("caf\ufffd", "not-utf8")]
    + [(f"rock {sign} roll", "symbols") for sign in "#%&@§‰"],
)
def test_digits_and_symbols_are_errors(text, reason):
    with pytest.raises(BadUtterance) as e:
        normalize(text)
    assert e.value.reason == reason


def test_undecodable_bytes_are_named():
    with pytest.raises(BadUtterance, match=r"perhaps Windows-1252 for 'café' \(iconv -f windows-1252 -t utf-8\)"):
        normalize("caf\udce9")

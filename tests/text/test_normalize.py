import contextlib
import random
import time

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


LANGUAGES = ["en", "tr", "lt", "ca", "he", "fa", "hi", "uz", "xx"]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_normalized_text_does_not_change(lang):
    rng = random.Random(lang)
    pieces = [
        *"''’‘`()[]<>*-–.,! 0aAiIıİs·״\"",
        "\u200c",
        "\u200d",
        "\u0307",
        "می",
        "क्",
        "ष",
        "漢",
        "ｶﾞ",
        "ﬁ",
        "ʻ",
        "tis",
    ]
    normal = 0
    for _ in range(1500):
        text = "".join(rng.choices(pieces, k=rng.randrange(1, 12)))
        try:
            clean = normalize(text, lang, numbers="spell", remove_tags={"a", "s"})
        except BadUtterance:
            continue
        normal += 1
        assert normalize(clean, lang) == clean, ascii(text)
    assert normal > 150


@pytest.mark.parametrize(
    "piece", ["(", "((", "[", "【", "* ", "<a", "(a) ", "'a", "a' ", "'a b' ", "l'«", "می\u200cخ "]
)
def test_the_time_grows_with_the_length_of_a_text(piece):
    start = time.monotonic()
    with contextlib.suppress(BadUtterance):
        normalize(piece * 20000)
    assert time.monotonic() - start < 30


def test_errors_show_the_start_of_the_text_as_it_was_written():
    with pytest.raises(BadUtterance, match=r"'5' in 'Zimmer Nr. 5 im ｆünften Stock, zweiter E'"):
        normalize(" Zimmer Nr. 5 im ｆünften Stock, zweiter Eingang", "de")


@pytest.mark.parametrize(
    "text, reason",
    [("room 5", "digits"), ("a + b", "symbols"), ("5 €", "digits"), ("x\x00", "symbols")]
    + [("½ cup", "digits"), ("caf\ufffd", "not-utf8"), ("x²", "digits"), ("Louis Ⅳ", "digits"), ("1ª", "digits")]
    + [(f"rock {sign} roll", "symbols") for sign in "#%&@§‰*\\ªº™№℃€^~=|_♪".replace("_", "")],
)
def test_digits_and_symbols_are_errors(text, reason):
    with pytest.raises(BadUtterance) as e:
        normalize(text)
    assert e.value.reason == reason


def test_undecodable_bytes_are_named():
    with pytest.raises(BadUtterance, match=r"perhaps Windows-1252 for 'café' \(iconv -f windows-1252 -t utf-8\)"):
        normalize("caf\udce9")

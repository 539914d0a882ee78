"""Apostrophes and single quotation marks."""

import numpy as np
import pytest

from ds2cli.text.normalize import normalize
from ds2cli.text.profiles import PROFILES
from ds2cli.text.quotes import settle_apostrophes

ENGLISH = [
    ("she wrote 'gone for lunch' on the door", "she wrote gone for lunch on the door"),
    ("she wrote ‘gone for lunch’ on the door", "she wrote gone for lunch on the door"),
    ("she wrote `gone for lunch' on the door", "she wrote gone for lunch on the door"),
    ("she wrote 'gone' on the door", "she wrote gone on the door"),
    ("'Wait,' he cried, 'I'm coming.'", "wait he cried i'm coming"),
    ("'Wait,' he cried, 'and don't", "wait he cried and don't"),
    ("'The dogs' bowl is empty,' she said", "the dogs' bowl is empty she said"),
    ("the 'dogs' bowl", "the dogs bowl"),
    ("the dogs' bowl and the cats' toys", "the dogs' bowl and the cats' toys"),
    ("'twas brillig, and 'tis late", "'twas brillig and 'tis late"),
    ("‘Twas brillig", "'twas brillig"),
    ("‘’Tis late,’ he said", "'tis late he said"),
    ("give 'em a hand, 'cause I can't", "give 'em a hand 'cause i can't"),
    ("'cause and effect' was the title", "cause and effect was the title"),
    ("workin' hard in th' mill o' Leeds", "workin' hard in th' mill o' leeds"),
    ("drum 'n' bass", "drum n bass"),
    ("drum ’n’ bass", "drum n bass"),
    ("“‘Quoted’ twice,” she said", "quoted twice she said"),
    ("a bird in the bush' and more", "a bird in the bush and more"),
    ("an 'open quotation", "an open quotation"),
    ("James’s and the Joneses’ house", "james's and the joneses' house"),
    ("o’clock, O'Neill, y'all'd've", "o'clock o'neill y'all'd've"),
    ("it′s ` ' ´ fine", "it's fine"),
    ("``double'' and ''double''", "double and double"),
    ("'A', 'B' and 'C'", "a b and c"),
    ("—'so'—", "so"),
]


@pytest.mark.parametrize("text, clean", ENGLISH)
def test_english(text, clean):
    assert normalize(text) == clean
    assert normalize(clean) == clean


@pytest.mark.parametrize(
    "lang, text, clean",
    [
        ("fr", "'l'homme qu'il aime' dit-elle", "l'homme qu'il aime dit elle"),
        ("fr", "l' homme d' 'ici'", "l' homme d' ici"),
        ("fr", "aujourd’hui, ‘jamais’", "aujourd'hui jamais"),
        ("it", "un po' di 'roba buona' c'è", "un po' di roba buona c'è"),
        ("it", "E' la citta' dell'arte", "e' la citta' dell'arte"),
        ("de", "‚so geht’s nicht‘ sagt er", "so geht's nicht sagt er"),
        ("de", "Ich hab' 'ne Idee", "ich hab' 'ne idee"),
        ("nl", "'s morgens zei hij 'kom maar' in 't huis", "'s morgens zei hij kom maar in 't huis"),
        ("es", "dijo 'hola amigo' y 'adiós", "dijo hola amigo y adiós"),
        ("uk", "м’ята і 'дім'", "м'ята і дім"),
        ("haw", "ʻŌlelo Hawai‘i 'oe", "'ōlelo hawai'i 'oe"),
        ("uz", "O‘zbek tog' yo'l", "o'zbek tog' yo'l"),
        ("sw", "ng'ombe 'mzuri sana' ng'", "ng'ombe mzuri sana ng'"),
        ("ca", "l'home · col·legi d'«aquí»", "l'home col·legi d' aquí"),
        ("he", 'צה"ל אמר "שלום"', "צה״ל אמר שלום"),
    ],
)
def test_other_languages(lang, text, clean):
    assert normalize(text, lang) == clean
    assert normalize(clean, lang) == clean


@pytest.mark.parametrize("profile", PROFILES, ids=lambda p: p.name)
def test_a_settled_text_does_not_change_and_keeps_its_letters(profile):
    rng = np.random.default_rng(4)
    pieces = ["'", "'", "’", "‘", "‚", "`", "ʼ", " ", " ", ",", ".", "l", "s", "boys", "tis", "em", "n", "ö", "-"]
    for _ in range(100):
        text = "".join(rng.choice(pieces, rng.integers(1, 14)))
        settled = settle_apostrophes(text, profile)
        assert settle_apostrophes(settled, profile) == settled, text
        assert [c for c in settled if c.isalpha() and c != "ʼ"] == [c for c in text if c.isalpha() and c != "ʼ"]
        lang = profile.languages[0]
        clean = normalize(text, lang)
        assert normalize(clean, lang) == clean, text

"""Hesitations, false starts and the marks of conversations, by language and by the conventions of corpora."""

import pytest

from ds2cli.errors import BadUtterance
from ds2cli.text.conversation import HESITATIONS, find_language, read_marks, remove_hesitations
from ds2cli.text.normalize import TextRules
from ds2cli.text.rule_sets import RULE_SETS
from ds2cli.text.tags import NOT_UNDERSTOOD, SOUNDS, SoundNames


def write(text, lang="en"):
    chosen = RULE_SETS["conversation"]
    return TextRules(lang, chosen.numbers, rule_set=chosen).normalize(text)


@pytest.mark.parametrize(
    "lang, text, words",
    [
        ("en", "Um, well, uhh, I er I—ummm—think, hmm. Erm, mm, ah, eh", "well i i think"),
        ("en-US", "uh I err on the human side", "i on the human side"),
        ("en", "her um brella, umbrella, aha, hum, shh, oh", "her brella umbrella aha hum shh oh"),
        ("de", "Äh, ähm, öhm, hmm, mm, er ist da", "er ist da"),
        ("deu", "ehm ja", "ja"),
        ("nl", "Uh, ehm, uhm ja, er is", "ja er is"),
        ("fr", "Euh, euhhh, heu, hum, il pleut", "il pleut"),
        ("es", "Eh, em, mmm, este es", "este es"),
        ("it", "Ehm, mmh, è così, eh", "è così eh"),
        ("pt", "Hum, é ahn, eh isso", "é isso"),
        ("pl", "Yyy, eee, no tak, mhm", "no tak mhm"),
        ("tr", "Iıı, ııh, hımm, eee, evet", "evet"),
        ("ru", "Э-э, ну, эм, ммм, хм, это я", "ну это я"),
        ("hi", "हम्म, अं ठीक", "ठीक"),
        ("ko", "음 그 어 네", "그 네"),
        ("zh", "嗯嗯，我呃觉得，打呃逆", "我觉得打呃逆"),
        ("ja", "えーと、あのー今日は考えと", "今日は考えと"),
        ("xx", "uh um", "uh um"),
    ],
)
def test_hesitations_of_a_language(lang, text, words):
    assert write(text, lang) == words
    assert write(words, lang) == words


@pytest.mark.parametrize(
    "text, words",
    [
        ("Uh-huh. mhm, uh huh, mm-hmm, mm hmm, um-hum, uh-uh, uh-oh", "uhhuh mhm uhhuh mmhmm mmhmm umhum uhuh uhoh"),
        ("uh uh uh i mean", "i mean"),
        ("huh?", "huh"),
    ],
)
def test_answers_are_words(text, words):
    assert write(text) == words
    assert write(words) == words


@pytest.mark.parametrize(
    "text, words",
    [
        # Switchboard (Mississippi State transcripts)
        ("[laughter-yeah] [laughter] but [laughter-th[at]-]", "yeah but th"),
        ("th[at]- w[e've]- that's -[an]y", "th w that's y"),
        ("[it'n/isn't] [lem[guini]-/linguini]", "it'n lem"),
        ("them_1 a_1 [vocalized-noise] [noise] okay [silence]", "them a okay"),
        ("<b_aside> come here <e_aside> sorry", "come here sorry"),
        # Fisher, and the LDC's CallHome
        ("I wor- work- [laugh] [cough] [lipsmack] %uh %um yes {breath}", "i wor work yes"),
        # AMI
        ("Okay . {vocalsound} So , um , th- the remote", "okay so th the remote"),
        ("Vor- und Nachteile", "vor und nachteile"),
    ],
)
def test_conventions_of_corpora(text, words):
    assert write(text) == words
    assert write(words) == words


@pytest.mark.parametrize("text", ["so [unclear] it", "(( maybe )) yes", "<unk> yes", "[speech] yes", "a [xxx]"])
def test_speech_that_was_not_understood_drops_its_text(text):
    with pytest.raises(BadUtterance) as e:
        write(text)
    assert e.value.reason == "tags"


@pytest.mark.parametrize("text", ["[laughter]", "Uh, um.", "[noise] hmm [cough]", "%uh"])
def test_texts_without_words_are_no_speech(text):
    with pytest.raises(BadUtterance, match="has no words besides hesitations and tags") as e:
        write(text)
    assert e.value.reason == "not-speech"
    assert write("...") == ""


def test_tags_of_sounds():
    assert "background laughter" in SoundNames() and "b aside" in SoundNames() and "x" in SoundNames({"x"})
    assert "x" not in SoundNames() and "laughter of all the people" not in SoundNames()
    assert NOT_UNDERSTOOD < SOUNDS and not any(name in SoundNames() for name in NOT_UNDERSTOOD)


def test_marks_are_read_only_where_they_are():
    for text in ("plain words", "a [noise] b", "50% of", "x_y", "100 %", "[a] b", "a [b]"):
        assert read_marks(text, "en") == text


def test_codes_of_languages():
    assert find_language("en-US") == "en" and find_language("deu") == "de" and find_language("pt_BR") == "pt"
    assert remove_hesitations("uh huh", "de") == "uh huh"
    assert all(remove_hesitations("", lang) == "" for lang in HESITATIONS)

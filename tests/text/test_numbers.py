import pytest

from ds2cli.errors import BadUtterance
from ds2cli.text.normalize import normalize
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


@pytest.mark.parametrize(
    "text, lang",
    [
        *(
            (text, "en")
            for text in ("the 3rd", "the 4TH of July", "the 11th hour", "the 4-th one", "the 80s", "the '70s")
        ),
        *(
            (text, "en")
            for text in ("the 60's", "in the 1960s", "IN THE 60S", "at -7", "at − 7", "at \u22127", "at +7")
        ),
        *(
            (text, "en")
            for text in ("3/4 of it", "2 1/2 cups", "1½", "24/7", "10 000", "10\u202f000", "10'000", "1_000")
        ),
        *(
            (text, "en")
            for text in ("10:30", "5-6", "5 - 6", "5–6", "5km", "10am", "7x", "v2", "1e5", "0x1F", ".5", "1.2.3")
        ),
        *(
            (text, "en")
            for text in ("$5", "5%", "5°", "10²", "6' tall", '5" pipe', "1984", "in 2024", "12000", "5 June")
        ),
        *((text, "en") for text in ("May 5", "call 555 123 4567", "555-1234", "5,6,7", "IPv6", "mp3@5")),
        *((text, "en") for text in ("a fee of 2.50", "version 3.0", "0.10", "3.14150", "1,0")),
        *(("am 3. Mai", "de"), ("3. máj", "sk"), ("1-й", "ru"), ("20-летний", "ru"), ("1er", "fr"), ("3º", "es")),
        *(("2,5", "ar"), ("5개", "ko"), ("5", "fil"), ("按1键", "zh"), ("५", "hi")),
    ],
)
def test_what_is_read_in_another_way_is_refused(text, lang):
    with pytest.raises(BadUtterance, match=r"^digits: ") as e:
        spell_numbers(text, lang)
    assert "--numbers" not in e.value.detail


@pytest.mark.parametrize(
    "text, lang, spoken",
    [
        ("1 2 3", "en", "one two three"),
        ("twenty 20", "en", "twenty twenty"),
        ("he said 'press 5'", "en", "he said 'press five '"),
        ("MP3 and A4", "en", "MP three and A four"),
        ("covid-19, F-16", "en", "covid nineteen, F sixteen"),
        ("a 20-year-old", "en", "a twenty year old"),
        ("wait—5 minutes", "en", "wait— five minutes"),
        ("may 5 people enter", "en", "may five people enter"),
        ("extension 8500", "en", "extension eight five zero zero"),
        ("touche 5.Ensuite", "fr", "touche cinq . Ensuite"),
        ("Es sind 3.", "de", "Es sind drei ."),
        ("06 12", "fr", "zéro six douze"),
        ("21", "pt-BR", "vinte e um"),
        ("5", "deu", "fünf"),
        ("۵", "fa", "پنج"),
        ("5を押す", "ja", "五を押す"),
    ],
)
def test_numbers_next_to_other_characters(text, lang, spoken):
    assert spell_numbers(text, lang) == spoken


@pytest.mark.parametrize(
    "lang", ["en", "de", "fr", "es", "it", "ru", "pl", "tr", "fa", "ar", "ko", "th", "he", "fi", "hu"]
)
def test_what_is_read_can_be_normalized(lang):
    for text in ("0", "1", "7", "21", "100", "999", "1234", "007", "2,5"):
        try:
            spoken = spell_numbers(text, lang)
        except BadUtterance:
            assert text == "2,5"
        else:
            assert normalize(spoken, lang)


@pytest.mark.parametrize("text", ["1,000 dollars", "1.000 euros", "1,234,567", "12.05.2020"])
def test_ambiguous_numbers_are_refused(text):
    with pytest.raises(BadUtterance, match="ambiguous"):
        spell_numbers(text, "en")


def test_a_number_of_any_length_is_read():
    """Python converts at most 4300 digits to an int."""
    assert spell_numbers("9" * 5000, "en").split() == ["nine"] * 5000
    with pytest.raises(BadUtterance, match="ambiguous"):
        spell_numbers("9" * 5000 + "000", "en")

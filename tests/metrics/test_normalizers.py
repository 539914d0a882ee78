"""The normalizers of ds2 score."""

import ast
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ds2cli
from ds2cli.errors import UsageError
from ds2cli.metrics import normalizers, whisper_rules
from ds2cli.metrics.normalizers import NAMES, basic, create_normalizer
from ds2cli.metrics.text_form import normalize_or_reduce

OWN = tuple(name for name in NAMES if name != "whisper")
LANGUAGES = ("en", "en-US", "de", "tr", "zh", "th", "hi", "x", "", "no such language")
PIECES = (
    *("İI ıẞß", "\ud800", "\udfff", "\x00\x1b", "\u2028", "\u200d\u200c", "\ufeff", "½²℃™", "١٢٣", "[a", "b>", "(c)"),
    *(
        "9" * 5000,
        "ten decillion " * 300,
        "$2 and ¢7",
        "half a million",
        "O'Brien's",
        "中 文",
        "स्थिति",
        "e\u0301",
        "<<",
    ),
)
free = settings(deadline=None)
"""Machines are busy at times, and texts are long."""

anything = st.lists(st.text(st.characters()) | st.sampled_from(PIECES), max_size=5).map(" ".join)


@pytest.fixture(scope="module")
def package():
    """The modules of whisper-normalizer."""
    basic_module = pytest.importorskip("whisper_normalizer.basic", reason="pip install 'ds2cli[whisper]'")
    return basic_module, pytest.importorskip("whisper_normalizer.english")


@pytest.mark.parametrize(
    ("name", "text", "normalized"),
    [
        ("none", " It’s,  OK [x]", (" It’s,  OK [x]", True)),
        ("prepare", "It’s 20 past, OK?", ("it's twenty past ok", True)),
        ("prepare", "50 % off, It’s", ("50 % off it's", False)),
        ("english", "It’s 20 past, OK?", ("it's twenty past ok", True)),
        ("chinese", "你 好，世界！OK go", ("你好世界ok go", True)),
        ("conversation", "Um, it’s [laughter] 20 past, uh-huh?", ("it's twenty past uhhuh", True)),
        ("conversation", "[noise] uh", ("", True)),
        ("conversation", "uh 5 %", ("uh 5", False)),
        ("chinese", "我有 3 个。", ("我有 3 个", False)),
        ("basic", "It’s 20 past, OK? 5 %", ("it s 20 past ok 5", True)),
        ("basic", "[noise] (ﬁne) <a> ｆｕｌｌ＿ｗｉｄｔｈ", ("noise fine a full width", True)),
        ("basic", "ÉTÉ e\u0301te\u0301 स्थिति a\u00adb\x00c", ("été été स्थिति ab c", True)),
    ],
)
def test_own_rules(name, text, normalized):
    assert create_normalizer(name).normalize(text) == normalized


def test_the_language_is_that_of_the_row_but_for_those_of_one_language():
    assert create_normalizer("prepare", "en").normalize("IŞIK", "tr") == ("ışık", True)
    assert create_normalizer("prepare", "tr").normalize("IŞIK") == ("ışık", True)
    assert create_normalizer("basic", "tr").normalize("ILIK, IŞIK") == ("ılık ışık", True) and basic("ILIK") == "ilik"
    assert create_normalizer("english", "tr").normalize("ILIK", "tr") == ("ilik", True)
    assert create_normalizer("prepare", "de").normalize("3 und", "de") == ("drei und", True)
    assert create_normalizer("english").normalize("3 und", "de") == ("three und", True)


@free
@given(anything, st.sampled_from(LANGUAGES))
def test_own_normalizers_never_fail_and_change_nothing_twice(text, lang):
    for name in OWN:
        normalizer = create_normalizer(name, "en")
        once, read = normalizer.normalize(text, lang)
        assert isinstance(once, str) and isinstance(read, bool)
        if name == "basic":
            assert normalizer.normalize(once, lang) == (once, True)
    if len(text) < 4000:
        assert create_normalizer("prepare", lang or "en").normalize(text) == normalize_or_reduce(text, lang or "en")


@free
@given(anything, st.sampled_from(LANGUAGES))
def test_basic_leaves_words_of_letters_digits_and_marks(text, lang):
    plain = basic(text, lang)
    assert plain == " ".join(plain.split()) and plain == unicodedata.normalize("NFKC", plain)
    assert not [c for c in plain if unicodedata.category(c)[0] in "PS" or unicodedata.category(c) in ("Cc", "Lt")]


def test_basic_agrees_with_whisper_where_they_mean_to(package):
    theirs = package[0].BasicTextNormalizer()
    for text in ("It’s, a “TEST”; 5 % — naïve café!", "ÀÉÎ ﬁne ２３", "ЁЖ, ёж.", "你好，世界", "x_y a/b #1"):
        assert basic(text).split() == theirs(text).split()
    assert theirs("(uh) now [noise] स्थिति").split() != basic("(uh) now [noise] स्थिति").split()


WHISPER_TEXTS = (
    "Mr. O'Brien won't pay $20 million, he's gone — uh, mhm — to the theatre (laughs) [noise].",
    "one oh one and twenty first and a half, colour; the point is moot",
    "and and point double o seven kinda cause",
    "",
    "  ",
    "the cat sat on the mat and  then   left ",
)


@given(
    anything
    | st.lists(
        st.sampled_from(
            [
                "the",
                "and",
                "a",
                "half",
                "cat",
                "one",
                "o",
                "oh",
                "hundred",
                "point",
                "double",
                "second",
                "colour",
                "mm",
                "5",
            ]
        )
        | st.sampled_from(["won't", "it's been", "per cent", "$3", "program", "u s a", "  ", "\t"])
    ).map(" ".join)
)
@settings(deadline=None, max_examples=60)
def test_whisper_equals_the_package(package, text):
    english, plain, letters = (
        package[1].EnglishTextNormalizer(),
        package[0].BasicTextNormalizer(),
        package[0].BasicTextNormalizer(split_letters=True),
    )
    normalizer = create_normalizer("whisper", "en")
    for lang, theirs in ((None, english), ("en-GB", english), ("de", plain), ("zh-TW", letters), ("ja", letters)):
        for one in (text, *WHISPER_TEXTS):
            try:
                expected = theirs(one), True
            except Exception:
                expected = basic(one, lang or "en"), False
            assert normalizer.normalize(one, lang) == expected
    assert normalizer.normalize("9" * 5000) == ("9" * 5000, False)


@pytest.mark.parametrize("analyzed", [True, False], ids=["with the shortcut", "without"])
def test_whisper_reads_every_word_alone_as_the_package_does(package, analyzed, monkeypatch):
    if not analyzed:
        monkeypatch.setattr(whisper_rules, "_ANALYZED", frozenset())
    theirs = package[1].EnglishTextNormalizer()
    ours = whisper_rules.load_whisper()
    words = [*theirs.standardize_numbers.words, *list(theirs.standardize_spellings.mapping)[::40], "uh", "cause", "cat"]
    for word in words:
        for text in (f"the {word} and {word} sat", f"and {word} and", word):
            assert ours(text, "en") == theirs(text)


def test_the_shortcut_knows_the_installed_version(package):
    english = package[1].EnglishTextNormalizer()
    assert whisper_rules._skip_plain_texts(english) is not english
    installed = Path(package[1].__file__).read_bytes()
    assert whisper_rules.hashlib.sha256(installed).hexdigest() in whisper_rules._ANALYZED, (
        "another version of whisper-normalizer: check _find_triggers against its english.py, then add its hash"
    )


@free
@given(anything, st.sampled_from(LANGUAGES))
def test_whisper_never_fails(package, text, lang):
    normalized, read = create_normalizer("whisper").normalize(text, lang)
    assert isinstance(normalized, str) and isinstance(read, bool)


def test_without_the_package_the_message_names_the_command():
    code = (
        "import sys; sys.modules['whisper_normalizer'] = None\n"
        "from ds2cli.metrics.normalizers import create_normalizer\n"
        "try: create_normalizer('whisper')\nexcept Exception as e: print(type(e).__name__, e)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "UsageError --normalizer whisper: whisper-normalizer is not installed (pip install 'ds2cli[whisper]')\n"
    )
    with pytest.raises(UsageError, match=r"^--normalizer nemo: expected one of none, basic, "):
        create_normalizer("nemo")


def test_descriptions_name_version_and_language(package):
    version = normalizers.metadata.version("whisper-normalizer")
    assert create_normalizer("none", "de").description == "none"
    assert create_normalizer("whisper", "en").description == f"whisper (whisper-normalizer {version}, en)"
    assert create_normalizer("chinese", "en").description == f"chinese (ds2cli {ds2cli.__version__}, zh)"
    assert create_normalizer("prepare", "de").description == f"prepare (ds2cli {ds2cli.__version__}, de)"


def test_identities_differ_between_rules_and_languages_and_are_stable(package):
    def identities():
        return [create_normalizer(name, lang).identity for name in NAMES for lang in ("en", "de")]

    first = identities()
    assert first == identities() and all(len(i) == 64 for i in first)
    # those of one language or none do not depend on the default
    assert len(set(first)) == 4 * 2 + 3
    assert create_normalizer("none").identity == "fdbb9db68f1db204d7823d5cbd2ff3eee530677fc945b6304356e1c6658b9ca2"


def test_another_rule_or_version_is_another_identity(package, monkeypatch):
    before = {name: create_normalizer(name).identity for name in NAMES}
    monkeypatch.setattr(normalizers.metadata, "version", lambda name: "9.9")
    assert {n for n in NAMES if create_normalizer(n).identity != before[n]} == {
        "prepare",
        "english",
        "chinese",
        "conversation",
        "whisper",
    }
    monkeypatch.undo()
    monkeypatch.setattr(normalizers, "__version__", "9.9")
    assert {name: create_normalizer(name).identity for name in NAMES} == before
    monkeypatch.setattr(normalizers.resources, "files", lambda package: FakeFiles())
    assert {n for n in NAMES if create_normalizer(n).identity != before[n]} == {*NAMES} - {"none"}


class FakeFiles:
    def joinpath(self, path):
        return self

    def read_bytes(self):
        return b"other rules"


def test_the_files_with_the_rules_are_complete():
    root = Path(ds2cli.__file__).parents[1]
    for sources in (normalizers.PREPARE_SOURCES, normalizers.BASIC_SOURCES):
        for source in sources:
            for node in ast.walk(ast.parse((root / source).read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ds2cli.text."):
                    found = f"{node.module.replace('.', '/')}.py"
                    assert found in sources or found in normalizers.PREPARE_SOURCES

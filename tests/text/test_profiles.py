"""Language profiles: codes, case, and what the documents say of them."""

from collections import Counter
from pathlib import Path

import pytest

from ds2cli.text.profiles import DEFAULT, PROFILES, find_profile, guess_language, is_language_tag


def test_no_language_has_two_profiles_and_no_profile_two_names():
    assert max(Counter(code for profile in PROFILES for code in profile.languages).values()) == 1
    assert len({profile.name for profile in PROFILES}) == len(PROFILES)
    assert all(is_language_tag(code) for profile in PROFILES for code in profile.languages)


@pytest.mark.parametrize("lang", ["tr", "TR", "tr-TR", "tr_TR", "az", "az-Latn-AZ", "tur", "aze", "crh"])
def test_languages_with_a_dotless_i(lang):
    assert find_profile(lang).lower("IĞDIR İzmir I\u0130") == "ığdır izmir ıi"


@pytest.mark.parametrize("lang", ["en", "de", "kk", "xx", "sw"])
def test_the_dot_of_a_foreign_name_is_no_symbol_of_its_own(lang):
    assert find_profile(lang).lower("İSTANBUL I") == "istanbul i"


def test_an_accent_on_a_lithuanian_i_keeps_its_dot():
    assert find_profile("lt").lower("i\u0307\u0301") == "i\u0307\u0301"


@pytest.mark.parametrize("lang", ["turkish", "t", "", "tr TR", "12", "tr-", "türkçe"])
def test_what_is_no_language_code(lang):
    assert not is_language_tag(lang)


def test_unknown_languages_have_the_default_rules():
    assert find_profile("tlh") is DEFAULT


def test_the_case_of_a_network_follows_from_its_symbols():
    assert guess_language(("<blank>", "a", "ı")) == "tr" and guess_language(("<blank>", "a", "i")) == "en"


def test_every_profile_is_documented():
    table = (Path(__file__).parents[2] / "ds2cli/cli/README.md").read_text("utf-8")
    rows = [line for line in table.splitlines() if line.startswith("|")]
    for profile in PROFILES:
        row = [line for line in rows if line.startswith(f"| {profile.name} |")]
        assert len(row) == 1, profile.name
        listed = row[0].split("|")[2].split()
        assert set(listed) == {code for code in profile.languages if len(code) == 2 or code in listed}

"""What holds for every corpus."""

import re
import subprocess
import sys

import pytest

from ds2cli.corpora import corpus_names, load_corpus

HEAVY = ("http.client", "urllib.request", "tarfile", "numpy", "soundfile", "av", "torch", "numba")


@pytest.mark.parametrize("name", corpus_names())
def test_its_help_says_what_it_is_and_expects(name):
    title, body, example = load_corpus(name).__doc__.strip().split("\n\n")
    assert title.endswith(".") and "\n" not in title
    found = re.findall(r"^([A-Z][a-z]+) +\S", body, re.M)
    assert {"Source", "Layout", "Dropped"} <= set(found) and "license" in body.lower()
    assert example.startswith(f"Example: ds2 prepare {name} ") and "\n" not in example


def test_the_help_lists_all_corpora_and_imports_little():
    code = (
        "import sys; from ds2cli.cli.main import app; import typer\n"
        "try: typer.main.get_command(app).main(['prepare', '--help'], standalone_mode=True)\n"
        f"finally: print('loaded', [m for m in {HEAVY} if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    listed = re.findall(r"^  (\w+) +(\S.*)$", shown.partition("Commands:")[2], re.M)
    assert [name for name, _ in listed] == corpus_names()
    assert shown.endswith("loaded []\n")

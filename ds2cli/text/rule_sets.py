"""The named rule sets for texts, one of which `--text-rules` chooses: what they do with case, punctuation, tags,
hesitations and numbers. How it is done: normalize.py for the sets without punctuation, written.py for those with it,
conversation.py for hesitations. ds2cli/cli/README.md lists the sets, with an example of each.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

Name = Literal["letters", "cased", "written", "conversation", "keep"]
Numbers = Literal["refuse", "spell", "keep"]


@dataclass(frozen=True)
class RuleSet:
    """What a set of rules does with each dimension of a text.

    case: lower, or as it is.  punctuation: becomes a space, is written in one form, or stays as it is.
    tags: drop their text (refuse), are removed if they name a sound (sounds), or stay.
    hesitations: uh, um and the like stay, or are removed.  numbers: in digits; likewise, or spelled.
    """

    name: Name
    case: Literal["lower", "keep"] = "lower"
    punctuation: Literal["remove", "unify", "keep"] = "remove"
    tags: Literal["refuse", "sounds", "keep"] = "refuse"
    hesitations: Literal["keep", "remove"] = "keep"
    numbers: Numbers = "refuse"


LETTERS = RuleSet("letters")
RULE_SETS: dict[str, RuleSet] = {
    rules.name: rules
    for rules in (
        LETTERS,
        RuleSet("cased", case="keep"),
        RuleSet("written", case="keep", punctuation="unify", numbers="keep"),
        RuleSet("conversation", tags="sounds", hesitations="remove", numbers="spell"),
        RuleSet("keep", case="keep", punctuation="keep", tags="keep", numbers="keep"),
    )
}

SOURCES = (
    *("characters", "conversation", "normalize", "numbers", "profiles", "quotes", "rule_sets", "signs", "spacing"),
    *("tags", "units", "written"),
)
"""The modules of ds2cli/text that have the rules."""


@cache
def hash_rules() -> str:
    """SHA-256 (hexadecimal) of the modules that have the rules: equal ones write equal texts."""
    digest = hashlib.sha256()
    for name in SOURCES:
        data = resources.files("ds2cli.text").joinpath(f"{name}.py").read_bytes().replace(b"\r\n", b"\n")
        digest.update(name.encode() + hashlib.sha256(data).digest())
    return digest.hexdigest()

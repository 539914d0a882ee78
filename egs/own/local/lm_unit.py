"""The unit of the language model: lm_unit.py TRAIN DEV MORE prints `word` or `char`, and why on standard error.

MORE is how many other texts the model gets. Characters: where no text has a space, as the network then writes none,
and where most of the words of DEV are unknown, so that a model of words would make it worse.
"""

import sys

from ds2cli import manifest, ui

MOST_UNKNOWN = 0.4
"""Share of the running words of DEV; from one half on, ds2 decode refuses a language model."""


def main(train: str, dev: str, more: str) -> None:
    """Print the unit."""
    texts = [row["text"].split() for row in manifest.read(train, ("id", "text"))]
    known = {word for text in texts for word in text}
    running = [word for row in manifest.read(dev, ("id", "text")) for word in row["text"].split()]
    unknown = sum(word not in known for word in running) / max(1, len(running))
    unit = "word"
    if all(len(text) < 2 for text in texts):
        unit = "char"
        ui.log("language model of characters: no training text has a space, so the network will not write one")
    elif unknown > MOST_UNKNOWN and more == "0":
        unit = "char"
        ui.log(
            f"language model of characters: {100 * unknown:.0f} % of the words of dev are not in training "
            "(--text FILE adds text)"
        )
    ui.echo(unit)


main(*sys.argv[1:])

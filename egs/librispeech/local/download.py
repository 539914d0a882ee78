#!/usr/bin/env python3
"""Download LibriSpeech, or its language models and their text, from OpenSLR; an interrupted download continues.

local/download.py corpus FOLDER SUBSET…     subsets of OpenSLR 12 that are not in FOLDER; their MD5 are published
local/download.py lm FOLDER NAME…           3-gram.pruned.1e-7, 3-gram or 4-gram (ARPA files), or text: OpenSLR 11

OpenSLR publishes no checksums of its resource 11. Those below are what others found: the sizes are in Kaldi's
egs/librispeech/s5/local/download_lm.sh, the SHA-256 hashes of 3-gram and 4-gram in rwth-i6/i6_experiments, and the MD5
of the text in the recipes of several projects. That of 3-gram.pruned.1e-7 is from one experiment only.
"""

import argparse
import hashlib
import sys
from pathlib import Path
from typing import NamedTuple

from ds2cli.corpora import librispeech
from ds2cli.corpora._download import MIRRORS
from ds2cli.corpora._http import Part, TransferError, continue_transfer
from ds2cli.errors import Ds2Error
from ds2cli.ui_bytes import ByteProgress


class File(NamedTuple):
    """A file of OpenSLR 11. size: bytes, None if not known.  algorithm, digest: of its content."""

    name: str
    size: int | None
    algorithm: str
    digest: str


FILES = {
    "3-gram.pruned.1e-7": File(
        "3-gram.pruned.1e-7.arpa.gz",
        34094057,
        "sha256",
        "71dd880667cb6ea3942bb1982988c91fb1208839a21911eeec7e31c857c4bdfb",
    ),
    "3-gram": File(
        "3-gram.arpa.gz", 759636181, "sha256", "263649573475c2991d3e755eb4e690c9d2656f2b3283a1eb589e1e4e174bf874"
    ),
    "4-gram": File(
        "4-gram.arpa.gz", 1355172078, "sha256", "f2b2d1507637ddf459d3579159f7e8099ed7d77452ff1059aeeeaea33d274613"
    ),
    "text": File("librispeech-lm-norm.txt.gz", None, "md5", "c83c64c726a1aedfe65f80aa311de402"),
}


def download_lm(folder: Path, name: str, mirrors: tuple[str, ...]) -> None:
    """Download a file of FILES, unless it is there. Ds2Error if no mirror has it, or it is another file."""
    file = FILES[name]
    path = folder / file.name
    folder.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        if problem := find_problem(path, file):
            raise Ds2Error(f"{path}: {problem} (remove it: it is downloaded again)")
        return
    part, failures = Part.open(path), list[str]()
    with ByteProgress("download") as report:
        for mirror in mirrors:
            try:
                continue_transfer(part, f"{mirror}/11/{file.name}", report, lambda size, done: None)
            except TransferError as e:
                failures.append(f"{mirror}: {e}")
                continue
            problem = find_problem(part.file, file)
            if not problem:
                part.file.rename(path)
                part.remove()
                return
            failures.append(f"{mirror}: {problem}")
            part.reset()
    raise Ds2Error(f"{file.name}: the download failed: {'; '.join(failures)} (try again: it continues)")


def find_problem(path: Path, file: File) -> str:
    """What distinguishes a file from the one that is expected, "" for nothing."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"expected {file.size} bytes, got {size}"
    with path.open("rb") as f:
        found = hashlib.file_digest(f, file.algorithm).hexdigest()
    return "" if found == file.digest else f"its {file.algorithm} is {found}, expected {file.digest}"


def main() -> None:
    """Parse the arguments, and download."""
    parser = argparse.ArgumentParser(description="Download parts of LibriSpeech from OpenSLR.")
    parser.add_argument("what", choices=["corpus", "lm"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--mirror", help="address to use in place of the mirrors of OpenSLR")
    args = parser.parse_args()
    known = librispeech.CHECKSUMS if args.what == "corpus" else FILES
    if unknown := [name for name in args.names if name not in known]:
        raise Ds2Error(f"{' '.join(unknown)}: expected one of {', '.join(known)}")
    if args.what == "corpus":
        options = librispeech.Options(download=True, part=",".join(args.names), mirror=args.mirror)
        with ByteProgress("download") as report:
            librispeech.fetch(str(args.folder), options, report)
    for name in args.names if args.what == "lm" else []:
        download_lm(args.folder, name, (args.mirror.rstrip("/"),) if args.mirror else MIRRORS)


if __name__ == "__main__":
    try:
        main()
    except Ds2Error as e:
        sys.exit(f"local/download.py: {e}")

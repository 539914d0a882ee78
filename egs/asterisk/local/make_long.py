"""Construct a long recording from the clips of the corpus, and a transcript of it that is wrong in known places.

usage: make_long.py CLIPS.jsonl OUT [--hours 1] [--parts train,dev,test] [--wer 17] [--files 12] [--seed 0]

OUT/long.wav       sections of 20 clips of one part, with pauses of 0.3 to 1.5 s; noise, music or silence between them
OUT/long.jsonl     its row, with the transcript
OUT/truth.jsonl    a row per clip: its times, its text, what the transcript has in its place, and the kind of error
OUT/files/*.wav    the same recording in --files files, cut between sections
OUT/book.txt       their text as it is printed: the truth with the punctuation, capitals and digits of the corpus
"""

import argparse
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

RATE = 16000
SECTION = 20
PAUSE_S = 0.3, 1.5
INTERLUDE_S = 3.0, 12.0
SPEEDS = 0.9, 1.0, 1.1
BLOCK = 6
KINDS = "removed", "changed", "added", "careless"


@dataclass
class Clip:
    """A clip in the recording (s): its true text, and the text of the transcript; kind: of its error, "" if right."""

    id: str
    start: float
    end: float
    text: str
    transcript: str
    kind: str
    split: str
    clip: str
    speed: float


def plan(rows: list[dict], seed: int) -> Iterator[list[tuple[dict, float]]]:
    """Endless sections of clips of one part with their speeds: each clip once in a pass, each time at another speed."""
    turn = 0
    while True:
        random = Random(f"{seed} {turn}")
        sections = []
        for split in sorted({row["split"] for row in rows}):
            part = [(row, SPEEDS[(i + turn) % 3]) for i, row in enumerate(rows) if row["split"] == split]
            random.shuffle(part)
            sections += [part[i : i + SECTION] for i in range(0, len(part), SECTION)]
        random.shuffle(sections)
        yield from sections
        turn += 1


def interlude(rng, background):
    """3 to 12 s of louder noise, of music (chords that fade), or of the background alone."""
    import numpy as np

    n = round(rng.uniform(*INTERLUDE_S) * RATE)
    kind = rng.integers(3)
    if kind == 0:
        return np.convolve(rng.normal(0, 0.03, n), np.full(8, 1 / 8), "same").astype(np.float32)
    if kind == 1:
        t = np.arange(n) / RATE
        beat = (t * 2).astype(int)
        chords = 220 * 2 ** (rng.integers(0, 24, (beat[-1] + 1, 3)) / 12)
        tones = sum(np.sin(2 * np.pi * chords[beat, k] * t) for k in range(3))
        return (0.04 * tones * np.exp(-3 * (t * 2 - beat))).astype(np.float32) + background(n)
    return background(n)


def record(rows: list[dict], args: argparse.Namespace, out: Path) -> list[Clip]:
    """Write the recording, whole and in files, and return its clips, with true texts."""
    import numpy as np
    import soundfile

    from ds2cli.audio.join import join
    from ds2cli.audio.recording import parse_recording, read_samples

    rng = np.random.default_rng(args.seed)

    def background(n):
        return rng.normal(0, 0.001, n).astype(np.float32)

    total, clips, at, files = round(args.hours * 3600 * RATE), [], 0, []
    with soundfile.SoundFile(out / "long.wav", "w", RATE, 1, "PCM_16") as whole:
        for section in plan(rows, args.seed):
            sounds = [read_samples(parse_recording(row), RATE, speed) for row, speed in section]
            pauses = [round(rng.uniform(*PAUSE_S) * RATE) for _ in range(len(sounds) + 1)]
            samples, spans = join(sounds, pauses)
            for (row, speed), (start, end) in zip(section, spans, strict=True):
                times, text = ((at + start) / RATE, (at + end) / RATE), row["text"]
                clips.append(Clip(f"{len(clips):06d}", *times, text, text, "", row["split"], row["id"], speed))
            samples = np.concatenate([samples + background(len(samples)), interlude(rng, background)])
            if len(files) <= min(at * args.files // total, args.files - 1):
                path = out / "files" / f"{len(files) + 1:02d}.wav"
                files.append(soundfile.SoundFile(path, "w", RATE, 1, "PCM_16"))
            whole.write(samples)
            files[-1].write(samples)
            at += len(samples)
            if at >= total:
                break
    for file in files:
        file.close()
    return clips


def spoil(clips: list[Clip], wer: float, seed: int) -> list[Clip]:
    """Make the transcript wrong in blocks of up to 6 clips, until its word error rate is `wer` percent.

    removed: the text is missing.  changed: it is that of another clip.  added: texts of other clips, of which nothing
    is said, follow that of a clip.  careless: single words are left out, added or replaced.
    """
    from ds2cli.metrics.alignment import align_words
    from ds2cli.metrics.planted_errors import ErrorPlanter

    random = Random(f"spoil {seed}")
    planter = ErrorPlanter([clip.id for clip in clips], [clip.text for clip in clips], seed)
    words, errors, added = sum(len(clip.text.split()) for clip in clips), 0, {}
    while errors < wer / 100 * words:
        kind, begin = random.choice(KINDS), random.randrange(len(clips))
        block = range(begin, min(len(clips), begin + random.randint(1, BLOCK)))
        if any(clips[i].kind or i in added for i in range(max(0, begin - 1), min(len(clips), block.stop + 1))):
            continue  # a right clip is left between two blocks
        others = [random.choice(clips).text for _ in block]
        if kind == "added":
            added[begin] = " ".join(others)
            errors += len(added[begin].split())
            continue
        for i, other in zip(block, others, strict=True):
            wrong = [text for name, text in planter.plant(i, 1) if name in ("delete", "insert", "substitute")]
            text = {"removed": "", "changed": other, "careless": random.choice(wrong) if wrong else other}[kind]
            if text != clips[i].text:
                clips[i].transcript, clips[i].kind = text, kind
                errors += align_words([clips[i].text], [text]).total().errors
    result = []
    for i, clip in enumerate(clips):
        result.append(clip)
        if i in added:
            name, split = f"{clip.id}-added", clip.split
            result.append(Clip(name, clip.end, clip.end, "", added[i], "added", split, clip.clip, clip.speed))
    return result


def printed_texts(rows: list[dict]) -> dict[str, str]:
    """The text of each clip as the corpus has it, by its id, without notes in brackets."""
    from ds2cli import io
    from ds2cli.corpora.asterisk import find_files

    lang, texts = rows[0]["lang"], {}
    folder = Path(rows[0]["audio_filepath"])
    corpus = next(parent for parent in folder.parents if any(parent.rglob(f"core-sounds-{lang}.txt*")))
    for _, line in io.read_lines(str(find_files(corpus, lang)[0])):
        name, _, text = line.partition(":")
        key = f"{rows[0]['speaker']}-{name.strip().replace('/', '-')}"
        texts.setdefault(key, re.sub(r"[\[(<][^\])>]*[\])>]", "", text).strip())
    return texts


def main() -> None:
    """Parse the arguments and write the files."""
    from ds2cli import io, manifest
    from ds2cli.audio.read import probe

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips")
    parser.add_argument("out", type=Path)
    for name, default in (("hours", 1.0), ("parts", "train,dev,test"), ("wer", 17.0), ("files", 12), ("seed", 0)):
        parser.add_argument(f"--{name}", type=type(default), default=default)
    args = parser.parse_args()
    (args.out / "files").mkdir(parents=True, exist_ok=True)
    rows = [row for row in manifest.read(args.clips, ("id", "text")) if row["split"] in args.parts.split(",")]
    clips = spoil(record(rows, args, args.out), args.wer, args.seed)
    text = " ".join(clip.transcript for clip in clips if clip.transcript)
    audio = args.out / "long.wav"
    row = {"id": "long", "audio_filepath": str(audio), "duration": probe(str(audio), decode=False).duration_s}
    manifest.write(
        str(args.out / "long.jsonl"), [{**row, "text": text, "speaker": rows[0]["speaker"], "lang": rows[0]["lang"]}]
    )
    manifest.write(str(args.out / "truth.jsonl"), [asdict(clip) for clip in clips])
    printed = printed_texts(rows)
    with io.open_out(str(args.out / "book.txt")) as f:
        f.writelines(f"{printed.get(clip.clip) or clip.text}\n" for clip in clips if clip.text)


if __name__ == "__main__":
    main()

"""A manifest of short real recordings, in which faults of every kind are planted, and the faults that must be found."""

import json
import random
from dataclasses import dataclass, field

import numpy as np
import soundfile

from ds2cli.archive import ArkWriter
from ds2cli.checks.audio import AudioChecks, check_samples, hash_samples

RATE = 16000
SECONDS = 1.5
SETTINGS = "[model]\nstrides = [4]\nchannels = [8]\nkernels = [5]\n[augment]\nspeeds = [1.0, 1.1, 1.2]\n"
"""150 frames give 38 steps, 34 at speed 1.1, 31 at speed 1.2; healthy texts need at most 28."""

SYMBOLS = "<blank>\n<space>\n'\n" + "\n".join("abcdefghijklmnopqrstuvwxyz") + "\n"
UNSPELLED = "é"


@dataclass
class Plan:
    """Lines of a manifest with the kinds of faults that each of them has, and which rows are still healthy."""

    folder: object
    rows: list
    rng: random.Random
    used: set = field(default_factory=set)
    expected: dict = field(default_factory=dict)
    lines: dict = field(default_factory=dict)
    after: dict = field(default_factory=dict)

    def take(self):
        """The position of a row that nothing was planted in, nor next to."""
        free = [i for i in range(1, len(self.rows) - 1) if not {i - 1, i, i + 1} & self.used]
        i = self.rng.choice(free)
        self.used.add(i)
        return i

    def audio(self, i):
        return self.folder / self.rows[i]["audio_filepath"]

    def samples(self, i):
        return soundfile.read(self.audio(i), dtype="float32")[0]

    def write_audio(self, i, samples, **options):
        soundfile.write(self.audio(i), samples, RATE, **options)


def change(**fields):
    """A kind that is planted by other values of fields; a value may be a function of the old one, None removes it."""

    def plant(plan, i):
        row = plan.rows[i]
        for name, value in fields.items():
            if value is None:
                del row[name]
            else:
                row[name] = value(row[name]) if callable(value) else value

    return plant


def change_samples(new):
    return lambda plan, i: plan.write_audio(i, new(plan.samples(i)).astype(np.float32), subtype="FLOAT")


def change_bytes(new):
    return lambda plan, i: plan.audio(i).write_bytes(new(plan.audio(i).read_bytes()))


def with_nan(samples):
    samples[7] = np.nan
    return samples


def clip(samples):
    """A recording that was too loud for its recorder, at half the level."""
    limit = np.quantile(np.abs(samples), 0.97)
    return samples.clip(-limit, limit) * (0.5 / limit)


def plant_copy(plan, i):
    """The samples of an earlier recording, in a file of another format."""
    row = plan.rows[i]
    row["audio_filepath"] = row["audio_filepath"].replace(".wav", ".copy.flac")
    soundfile.write(plan.folder / row["audio_filepath"], plan.samples(i - 1), RATE)


def plant_text_again(plan, i):
    plan.rows[i]["text"] = plan.rows[i - 1]["text"]


def plant_overlap(plan, i):
    """The second half of the earlier recording."""
    plan.rows[i] |= {
        "audio_filepath": plan.rows[i - 1]["audio_filepath"],
        "offset": 0.7,
        "duration": 0.8,
        "text": plan.rows[i]["text"][:12],
    }
    del plan.rows[i]["feats"], plan.rows[i]["num_frames"]


def plant_segment_again(plan, i):
    plan.rows[i]["audio_filepath"] = plan.rows[i - 1]["audio_filepath"]


def plant_id_again(plan, i):
    plan.rows[i]["id"] = plan.rows[i - 1]["id"]
    del plan.rows[i]["feats"], plan.rows[i]["num_frames"]


def plant_order(plan, i):
    """The row comes after the next one."""
    plan.after[i] = 1


def plant_matrix(columns, key=None):
    def plant(plan, i):
        path = plan.folder / f"{i}.ark"
        with ArkWriter(path) as ark:
            ref = ark.write(key or plan.rows[i]["id"], np.zeros((150, columns), np.float32))
        plan.rows[i]["feats"] = f"{i}.ark:{ref.rpartition(':')[2]}"

    return plant


def plant_line(text):
    def plant(plan, i):
        plan.lines[i] = text

    return plant


LONG = "abcdefghijklmnopqrstuvwxyzabcdefghijklmn"
"""40 letters: 27 per second, which need 40 steps."""

PLANTS = {
    "not-json": plant_line('{"id": "broken", "text":'),
    "not-utf8": plant_line(b'{"id": "caf\xe9"}'),
    "missing-field": change(text=None),
    "wrong-type": change(speaker=5),
    "bad-id": change(id=lambda name: name + " x", feats=None, num_frames=None),
    "bad-duration": change(duration=-1.0),
    "bad-offset": change(offset=-2.0),
    "not-sorted": plant_order,
    "duplicate-id": plant_id_again,
    "repeated-segment": plant_segment_again,
    "overlapping-segments": plant_overlap,
    "empty-text": change(text=" "),
    "control-character": change(text=lambda text: text + "\r"),
    "invisible-character": change(text=lambda text: "\ufeff" + text),
    "unicode-form": change(text=lambda text: "e\u0301 " + text[:9]),
    "text-form": change(text=str.upper),
    "digits": change(text=lambda text: text[:9] + " 12"),
    "unspellable": change(text=lambda text: text[:9] + " " + UNSPELLED),
    "duplicate-text": plant_text_again,
    "speaking-rate": change(text=lambda text: f"{text} {LONG} {LONG}"),
    "label-too-long": change(text=lambda text: LONG[:38] + text[:2]),
    "label-too-long-at-speed": change(text=lambda text: LONG[: 33 - 6] + text.replace(" ", "")[:5]),
    "missing-audio": change(audio_filepath=lambda path: f"nowhere-{path}"),
    "empty-file": change_bytes(lambda data: b""),
    "truncated-audio": change_bytes(lambda data: data[: len(data) // 2]),
    "not-audio": change_bytes(lambda data: b"this is a text and no recording\n"),
    "wrong-duration": change(duration=99.0),
    "bad-segment": change(offset=500.0),
    "wrong-rate": change(sample_rate=8000),
    "no-such-channel": change(channel=2),
    "duplicate-audio": plant_copy,
    "silence": change_samples(lambda x: 0 * x),
    "clipping": change_samples(clip),
    "dc-offset": change_samples(lambda x: x / 2 + 0.1),
    "not-a-number": change_samples(with_nan),
    "stale-archive": plant_matrix(4, key="other"),
    "other-bins": plant_matrix(5),
    "wrong-num-frames": change(num_frames=149),
    "missing-archive": change(feats="nowhere.ark:3"),
}
"""How each kind of fault is planted in a row."""

ALSO = {
    # no letter has an accent in the symbols of the test
    "unicode-form": {"unspellable"},
    "invisible-character": {"unspellable"},
    "text-form": {"unspellable"},
    "digits": {"unspellable"},
    "speaking-rate": {"label-too-long"},
    "not-sorted": set(),
}
"""What is also wrong with such a row."""


def make_manifest(source, folder, number, each, seed=0, kinds=tuple(PLANTS)):
    """A manifest of `number` recordings of 1.5 s, cut from those of `source`, with `each` rows of every kind of fault.

    kinds: those that are planted.  Returns the path, and the kinds of faults by line: of healthy lines the empty set.
    """
    rng = random.Random(seed)
    rows = list(_healthy_rows(source, folder, number, rng))
    plan = Plan(folder, rows, rng)
    for kind in kinds:
        for _ in range(each):
            i = plan.take()
            PLANTS[kind](plan, i)
            plan.expected[i] = {kind} | ALSO.get(kind, set())
    order = sorted(range(number), key=lambda i: i + 1.5 * plan.after.get(i, 0))
    path = folder / "planted.jsonl"
    with path.open("wb") as f:
        for i in order:
            line = plan.lines.get(i, json.dumps(rows[i], ensure_ascii=False))
            f.write((line if isinstance(line, bytes) else line.encode()) + b"\n")
    (folder / "train.toml").write_text(SETTINGS)
    (folder / "tokens.txt").write_text(SYMBOLS)
    return path, {line: plan.expected.get(i, set()) for line, i in enumerate(order, start=1)}


def _healthy_rows(source, folder, number, rng):
    """Rows with a recording, a text of its own, and features."""
    cuts = _cut(source)
    with ArkWriter(folder / "feats.ark") as ark:
        for i in range(number):
            samples = next(cuts)
            soundfile.write(folder / f"{i:05}.wav", samples, RATE)
            name = f"utt-{i:05}"
            ref = ark.write(name, np.zeros((150, 4), np.float32))
            # no letter twice in a row, and no two texts alike
            words = "".join(rng.sample("abcdefghijklmnopqrstuvwxyz", 20))
            yield {
                "id": name,
                "audio_filepath": f"{i:05}.wav",
                "duration": SECONDS,
                "text": f"{words[:6]} {words[6:13]} {words[13:]}",
                "speaker": f"s{i % 20}",
                "sample_rate": RATE,
                "feats": f"feats.ark:{ref.rpartition(':')[2]}",
                "num_frames": 150,
            }


def _cut(source):
    """Different pieces of 1.5 s of real recordings, without those that are silent or have an offset."""
    files, seen, size = sorted(source.rglob("*.flac")), set(), int(SECONDS * RATE)
    assert files, source
    for file in files:
        samples, rate = soundfile.read(file, dtype="float32")
        assert rate == RATE
        for start in range(0, len(samples) - size, size):
            piece = samples[start : start + size]
            digest = hash_samples(piece, RATE)
            if digest not in seen and not check_samples(piece, AudioChecks()):
                seen.add(digest)
                yield piece

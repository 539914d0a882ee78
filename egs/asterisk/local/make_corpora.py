"""Write a few clips of the corpus in the layouts of other corpora, to try `ds2 prepare`.

usage: make_corpora.py CLIPS.jsonl OUT

OUT/cv-corpus-21.0/en   Common Voice: a table and MP3 clips
OUT/TEDLIUM_release-3   TED-LIUM: a long SPHERE file and its segments
OUT/voxforge            VoxForge: a submission
OUT/GigaSpeech          GigaSpeech and WenetSpeech: a long Opus file, and a JSON file with its segments
OUT/WenetSpeech
OUT/LibriSpeech         LibriSpeech and Mini LibriSpeech: FLAC files and their transcripts
OUT/data_aishell        AISHELL-1: WAV files by speaker, and a list of texts
OUT/an4                 AN4: SPHERE files and lists
OUT/LJSpeech-1.1        LJ Speech: WAV files and a table
OUT/musan               MUSAN: noises
OUT/RIRS_NOISES         RIRS_NOISES: a list of (synthetic) room impulse responses
"""

import argparse
import itertools
import json
from pathlib import Path

CLIPS = 6
PAUSE_S = 0.5


def commonvoice(folder: Path, clips: list, rate: int) -> None:
    """clips: pairs of samples and text."""
    import soundfile

    (folder / "clips").mkdir(parents=True, exist_ok=True)
    lines = ["client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tlocale"]
    for number, (samples, text) in enumerate(clips):
        name = f"common_voice_en_{number}.mp3"
        soundfile.write(folder / "clips" / name, samples, rate, format="MP3")
        lines.append(f"{number % 2:0128x}\t{name}\t{text.capitalize()}.\t2\t0\t\t\t\ten")
    (folder / "train.tsv").write_text("\n".join(lines) + "\n", "utf-8")


def tedlium(folder: Path, clips: list, rate: int) -> None:
    """A talk in the folder `legacy` of release 3."""
    import soundfile

    samples, times = join(clips, rate)
    for name in ("sph", "stm"):
        (folder / "legacy/train" / name).mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / "legacy/train/sph/Prompts_2026.sph", samples, rate, format="NIST")
    lines = [f"Prompts_2026 1 gap 0.00 {PAUSE_S:.2f} <o,,unknown> ignore_time_segment_in_scoring"]
    for (begin, end), (_, text) in zip(times, clips, strict=True):
        lines.append(f"Prompts_2026 1 Prompts_2026 {begin:.2f} {end:.2f} <o,f0,female> {text}")
    (folder / "legacy/train/stm/Prompts_2026.stm").write_text("\n".join(lines) + "\n", "utf-8")


def voxforge(folder: Path, clips: list, rate: int) -> None:
    """A submission of a speaker of American English."""
    import soundfile

    name = "allison-20260101-abc"
    for part in ("etc", "wav"):
        (folder / name / part).mkdir(parents=True, exist_ok=True)
    prompts = ""
    for number, (samples, text) in enumerate(clips):
        soundfile.write(folder / name / f"wav/a{number:04}.wav", samples, rate)
        prompts += f"{name}/mfc/a{number:04} {text.upper()}\n"
    (folder / name / "etc/PROMPTS").write_text(prompts, "utf-8")
    (folder / name / "etc/README").write_text("Gender: Female\nPronunciation dialect: American English\n")


def speech_json(folder: Path, clips: list, rate: int, subsets: list, text_field: str) -> None:
    """The format of GigaSpeech and WenetSpeech."""
    import soundfile

    samples, times = join(clips, rate)
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(folder / "audio/A0.opus", "w", rate, 1, format="OGG", subtype="OPUS") as f:
        for begin in range(0, len(samples), rate):
            f.write(samples[begin : begin + rate])
    segments = []
    for (begin, end), (_, text) in zip(times, clips, strict=True):
        segment = {"sid": f"A0_S{len(segments)}", "begin_time": begin, "end_time": end, "confidence": 1.0}
        segments.append({**segment, text_field: text, "subsets": subsets})
    audios = [{"aid": "A0", "path": "audio/A0.opus", "duration": len(samples) / rate, "segments": segments}]
    (folder / f"{folder.name}.json").write_text(json.dumps({"audios": audios}, indent=2), "utf-8")


def librispeech(folder: Path, clips: list, rate: int) -> None:
    """A chapter of a subset; the folder is that of the subset."""
    import soundfile

    chapter = folder / "1/2"
    chapter.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (samples, text) in enumerate(clips):
        soundfile.write(chapter / f"1-2-{number:04}.flac", samples, rate)
        lines.append(f"1-2-{number:04} {text.upper()}")
    (chapter / "1-2.trans.txt").write_text("\n".join(lines) + "\n", "utf-8")


def aishell(folder: Path, clips: list, rate: int) -> None:
    """The recordings of a speaker; their texts are English here."""
    import soundfile

    speaker = folder / "wav/train/S0002"
    for part in (speaker, folder / "transcript"):
        part.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (samples, text) in enumerate(clips):
        name = f"BAC009S0002W{number:04}"
        soundfile.write(speaker / f"{name}.wav", samples, rate)
        lines.append(f"{name} {text}")
    (folder / "transcript/aishell_transcript_v0.8.txt").write_text("\n".join(lines) + "\n", "utf-8")


def an4(folder: Path, clips: list, rate: int) -> None:
    """The recordings of a speaker of the training part."""
    import soundfile

    for part in ("wav/an4_clstk/fash", "etc"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    ids, texts = "", ""
    for number, (samples, text) in enumerate(clips):
        name = f"an{number}-fash-b"
        soundfile.write(folder / f"wav/an4_clstk/fash/{name}.sph", samples, rate, format="NIST")
        ids += f"an4_clstk/fash/{name}\n"
        texts += f"<s> {text.upper()} </s> ({name})\n"
    (folder / "etc/an4_train.fileids").write_text(ids, "utf-8")
    (folder / "etc/an4_train.transcription").write_text(texts, "utf-8")


def ljspeech(folder: Path, clips: list, rate: int) -> None:
    """The recordings, and a table with each text twice: as printed, and as read."""
    import soundfile

    (folder / "wavs").mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (samples, text) in enumerate(clips):
        soundfile.write(folder / f"wavs/LJ001-{number:04}.wav", samples, rate)
        lines.append(f"LJ001-{number:04}|{text}|{text}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", "utf-8")


def musan(folder: Path, clips: list, rate: int) -> None:
    """The clips as noises."""
    import soundfile

    (folder / "noise/free-sound").mkdir(parents=True, exist_ok=True)
    for number, (samples, _) in enumerate(clips):
        soundfile.write(folder / f"noise/free-sound/noise-free-sound-{number:04}.wav", samples, rate)


def rirs_noises(folder: Path, rate: int) -> None:
    """Rooms with an exponential decay of 0.1 to 0.4 s."""
    import numpy as np
    import soundfile

    random, lines = np.random.default_rng(1), []
    for number in range(1, 5):
        path = f"simulated_rirs/smallroom/Room{number:03}/Room{number:03}-00001.wav"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        times = np.arange(rate // 2) / rate
        response = random.standard_normal(len(times)) * 10 ** (-3 * times / (0.1 * number))
        soundfile.write(folder / path, 0.1 * response, rate)
        lines.append(f"--rir-id small-{number} --room-id Room{number:03} RIRS_NOISES/{path}")
    (folder / "simulated_rirs/smallroom/rir_list").write_text("\n".join(lines) + "\n", "utf-8")


def join(clips: list, rate: int) -> tuple:
    """The clips after pauses: samples, and begin and end of each (s)."""
    import numpy as np

    pause = np.zeros(round(PAUSE_S * rate), np.float32)
    pieces, times, begin = [], [], 0
    for samples, _ in clips:
        begin += len(pause)
        pieces += [pause, samples]
        times.append((begin / rate, (begin + len(samples)) / rate))
        begin += len(samples)
    return np.concatenate([*pieces, pause]), times


def main() -> None:
    """Read the clips, and write each corpus."""
    from ds2cli import manifest
    from ds2cli.audio.recording import parse_recording, read_samples

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("clips", metavar="CLIPS.jsonl")
    options.add_argument("out", metavar="OUT", type=Path)
    args = options.parse_args()
    rows = list(itertools.islice(manifest.read(args.clips, ("audio_filepath", "text")), CLIPS))
    rate = rows[0]["sample_rate"]
    clips = [(read_samples(parse_recording(row), rate), row["text"]) for row in rows]
    commonvoice(args.out / "cv-corpus-21.0/en", clips, rate)
    tedlium(args.out / "TEDLIUM_release-3", clips, rate)
    voxforge(args.out / "voxforge", clips, rate)
    speech_json(args.out / "GigaSpeech", clips, rate, ["{XL}", "{XS}"], "text_tn")
    speech_json(args.out / "WenetSpeech", clips, rate, ["L", "S"], "text")
    for subset in ("dev-clean", "train-clean-5"):
        librispeech(args.out / "LibriSpeech" / subset, clips, rate)
    aishell(args.out / "data_aishell", clips, rate)
    an4(args.out / "an4", clips, rate)
    ljspeech(args.out / "LJSpeech-1.1", clips, rate)
    musan(args.out / "musan", clips, rate)
    rirs_noises(args.out / "RIRS_NOISES", rate)


if __name__ == "__main__":
    main()

#!/usr/bin/env bash
# Training data from a long recording whose transcript is partly wrong (Deep Speech 2, section 5.1): align, cut, filter. The recording is
# constructed from the clips of run.sh, so that it is known what was said; run.sh --stop-stage 5 trains the network.
set -euo pipefail
cd "$(dirname "$0")"; root=../..
stage=0; stop_stage=7; nj=; lang=en; hours=1; parts=train,dev,test; wer=17; seed=0; exp=; data=; out=
help="usage: egs/asterisk/long.sh [--stage 0] [--stop-stage 7] [--nj CORES] [--lang en|es|fr|it|ru] [--hours 1] [--parts train,dev,test]
                             [--wer 17] [--seed 0] [--exp exp/LANG] [--data data/LANG] [--out exp/LANG/long]
stages: 0 construct  1 emit  2 align  3 segment  4 cost  5 filter  6 table  7 formats  8 book  9 measure"
. $root/utils/options.sh
exp=${exp:-exp/$lang}; data=${data:-data/$lang}; out=${out:-$exp/long}
. $root/utils/path.sh
. $root/utils/cores.sh; nj=${nj:-$cores}
begin_stage() { [[ $stage -le $1 && $stop_stage -ge $1 ]] && echo "== stage $1: $2" >&2; }

if begin_stage 0 "construct the recording, and a transcript that is wrong in known places"; then
  python3 local/make_long.py "$data/all.jsonl" "$out" --hours "$hours" --parts "$parts" --wer "$wer" --seed "$seed"
fi
if begin_stage 1 "the systematic error of word times; emissions of the recording; word times of the clips, which are the truth"; then
  ds2 align --tune "$exp" "$data/dev.jsonl" --nj "$nj"
  for name in clips long; do
    [[ $name == long ]] && rows=$out/long.jsonl || rows=$data/all.jsonl
    ds2 featurize "$rows" "$out/$name.feats.jsonl" --dir "$out/feats/$name" --nj "$nj"
    ds2 emit "$exp" "$out/$name.feats.jsonl" "$out/$name.emit.jsonl" --dir "$out/emissions/$name"
  done
  ds2 align "$exp" "$out/clips.emit.jsonl" "$out/clips.aligned.jsonl" --max-word 60 --nj "$nj"  # all words
fi
if begin_stage 2 "align the recording with its transcript: with gaps, and as in the paper without"; then
  ds2 align "$exp" "$out/long.emit.jsonl" "$out/gaps.aligned.jsonl" --gaps
  ds2 align "$exp" "$out/long.emit.jsonl" "$out/plain.aligned.jsonl"
fi
if begin_stage 3 "cut it at pauses"; then
  for kind in gaps plain; do
    ds2 segment "$out/$kind.aligned.jsonl" "$out/$kind.segments.jsonl" --config conf/long.segment.toml
  done
fi
if begin_stage 4 "the CTC cost of each segment, for which it is a recording of its own"; then
  for kind in gaps plain; do
    ds2 featurize "$out/$kind.segments.jsonl" "$out/$kind.feats.jsonl" --dir "$out/feats/$kind" --nj "$nj"
    ds2 align "$exp" "$out/$kind.feats.jsonl" "$out/$kind.costs.jsonl" --nj "$nj"
  done
fi
if begin_stage 5 "fit the filter to the network, on dev, and throw out the segments whose text is wrong"; then
  ds2 filter --fit "$exp" "$exp/dev.emit.jsonl" --config conf/long.filter.toml
  for kind in gaps plain; do
    ds2 filter "$exp" "$out/$kind.costs.jsonl" "$out/$kind.good.jsonl"
  done
fi
if begin_stage 6 "what is left, and how wrong it is"; then
  python3 local/long_table.py "$out/truth.jsonl" "$out/clips.aligned.jsonl" \
    "align --gaps=$out/gaps.aligned.jsonl" "segment=$out/gaps.segments.jsonl" "filter=$out/gaps.good.jsonl" \
    "align=$out/plain.aligned.jsonl" "segment=$out/plain.segments.jsonl" "filter=$out/plain.good.jsonl" | tee "$out/table.md"
fi
if begin_stage 7 "the word times in every format"; then
  ds2 align "$exp" "$out/long.emit.jsonl" "$out/formats.jsonl" --gaps --chars --ctm "$out/long.ctm" --textgrid "$out/textgrid" --srt "$out/srt" \
    --vtt "$out/vtt" --audacity "$out/audacity" --elan "$out/elan" --kaldi-data "$out/kaldi" --whisper-json "$out/whisper"
fi
if begin_stage 8 "the recording in files, with one printed text"; then
  ds2 prepare folder "$out/files" "$out/files.jsonl" --no-text
  ds2 featurize "$out/files.jsonl" "$out/files.feats.jsonl" --dir "$out/feats/files" --nj "$nj"
  ds2 emit "$exp" "$out/files.feats.jsonl" "$out/files.emit.jsonl" --dir "$out/emissions/files"
  ds2 align "$exp" "$out/files.emit.jsonl" "$out/book.aligned.jsonl" --book "$out/book.txt" --lang "$lang"
fi
if begin_stage 9 "time and memory, from emissions and from the recording"; then
  measure() { /usr/bin/time -f "$*: %e s, %U + %S s of a processor, %M kB" "$@" > /dev/null; }
  measure ds2 align "$exp" "$out/long.emit.jsonl" - --gaps
  measure ds2 align "$exp" "$out/long.emit.jsonl" -
  measure ds2 align "$exp" "$out/files.emit.jsonl" - --book "$out/book.txt" --lang "$lang"
  measure ds2 emit "$exp" "$out/long.feats.jsonl" "$out/measured.jsonl" --dir "$out/emissions/measured"
  measure ds2 transcribe "$exp" "$out/long.wav"
fi

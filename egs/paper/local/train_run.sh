#!/usr/bin/env bash
# One run of a table: train_run.sh LIST NUMBER trains the network of that line of LIST (see rows.py), and writes the WER of each set, without and with the
# language model, to EXP/SET.greedy.wer and EXP/SET.lm.wer. EXP/done says what a finished run was made from: it is not repeated while that is the same.
set -euo pipefail
cd "$(dirname "$0")/.."
line=$(sed -n "$2p" "$1")
eval "set -- $line"
exp=$1 data=$2 part=$3; shift 3
suffix=; [[ $part == 100 ]] || suffix=.$part
train=$data/train$suffix.feats.jsonl lm=$data/lm.arpa
configs=(); for word in "$@"; do [[ ! -f $word ]] || configs+=("$word"); done
sets="dev train"; [[ ! -s $data/noisy.feats.jsonl ]] || sets+=" noisy"
stamp=$({ echo "${line#* * * }"; cat "$train" "$data"/dev.feats.jsonl "$lm" "${configs[@]}"; } | sha256sum)
is_finished() {
  [[ -f $exp/done && $(<"$exp/done") == "$stamp" ]] || return 1
  for set in $sets; do [[ -s $exp/$set.greedy.wer && ($set == train || -s $exp/$set.lm.wer) ]] || return 1; done
}
! is_finished || { echo "$exp is finished" >&2; exit; }
echo "$exp: training" >&2
ds2 train --if-stale "$train" "$exp" --dev "$data/dev.feats.jsonl" "$@"
for set in $sets; do
  in=$data/$set.feats.jsonl; [[ $set != train ]] || in=$data/heard.feats.jsonl
  ds2 emit --if-stale "$exp" "$in" "$exp/$set.emit.jsonl" --dir "$exp/emissions/$set"
  searches="greedy lm"; [[ $set != train ]] || searches=greedy  # the model is of these very transcripts
  for search in $searches; do
    how=(--greedy); [[ $search == greedy ]] || how=(--lm "$lm")
    ds2 decode --if-stale "$exp" "$exp/$set.emit.jsonl" "$exp/$set.$search.jsonl" "${how[@]}"
    ds2 score "$exp/$set.$search.jsonl" --unit both >"$exp/$set.$search.part"
    mv "$exp/$set.$search.part" "$exp/$set.$search.wer"
  done
done
echo "$stamp" >"$exp/done"

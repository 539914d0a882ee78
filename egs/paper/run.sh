#!/usr/bin/env bash
# The tables of the paper: train their rows at a chosen scale and on chosen data, and print the paper's columns beside ours, with intervals over seeds.
set -euo pipefail
caller=$PWD; cd "$(dirname "$0")"; root=../..
resume=true; table=; scale=small; data=; seeds="1 2 3"; quick=; exp=exp; store=data; shared=; asterisk_corpus=; librispeech=; lm=; gpu=a100-80; nproc=1
help="usage: egs/paper/run.sh --table 1|2|3|4|5|6|10|11|all [--scale small|full] [--data 'asterisk an4 librispeech-mini mix librispeech'] [--seeds '1 2 3']
                        [--stage 0] [--stop-stage 3] [--nj RUNS]    (--nj runs at a time on this machine) [--resume false]  (make the data again)
                        [--cmd \"utils/slurm.sh --partition NAME\"] [--dry-run true]  (see cmd.sh: one job per row and seed)
                        [--shared FOLDER]           (with an4_mfcc, LibriSpeech and noise) [--asterisk-corpus FOLDER]
                        [--librispeech FOLDER]      (--scale full: manifests of egs/librispeech) [--lm FILE] [--nproc GPUS]
                        [--gpu NAME]                (--scale full --dry-run true: estimate time and memory on this GPU)
                        [--exp exp] [--store data]  (where runs and data sets go; in egs/paper unless absolute)
                        [--quick FILE]              (settings of ds2 train that come last, to try the recipe out)
stages: 0 data  1 language model  2 train, emit, decode and score every row and seed  3 the tables
Finished runs are not repeated, and tables share them. Rows and comparisons are in conf/tableN.toml, networks in conf/networks.toml."
. ./cmd.sh
. $root/utils/recipe.sh
[[ -n $table ]] || { echo "$0: expected --table 1|2|3|4|5|6|10|11|all" >&2; exit 2; }
shared=${shared:-$(cd $root && pwd)/../shared/data}; librispeech=${librispeech:-../librispeech/data/spectrogram}
for name in shared asterisk_corpus lm quick librispeech; do
  [[ -z ${!name} || ${!name} == /* || ! -e $caller/${!name} ]] || printf -v "$name" %s "$caller/${!name}"
done
rows() { python3 local/rows.py "$@" --scale "$scale"; }
chosen=(--table "$table" --data "$data")
sets=$(rows data "${chosen[@]}"); parts=$(rows parts "${chosen[@]}")
runs=$(rows runs "${chosen[@]}" --seeds "$seeds" --root "$exp" --store "$store" --nproc "$nproc" ${quick:+--quick "$quick"})
title=$scale.table${table//[ ,]/-}; full_job=${full_job//NPROC/$nproc}

make() { job prepare "$@"; }  # NAME COMMAND…
subset() { make "$1" ds2 data subset "${if_stale[@]}" "${@:2}"; }  # NAME IN OUT
features() {  # SET PART…: of the recordings of STORE/SET
  local part
  for part in "${@:2}"; do
    make "$1.featurize.$part" ds2 featurize "${if_stale[@]}" "$store/$1/$part.jsonl" "$store/$1/$part.feats.jsonl" --dir "$store/$1/feats/$part" "${parallel[@]}"
  done
}
augment() {  # SET: its recordings with noise, and their features
  make noise local/noise.sh "$shared/noise" "$store/noise"
  make "$1.augment" local/augment.sh "$store/$1" "$store/noise"
  features "$1" train dev noisy
}
prepare_asterisk() {
  local source; source=$(realpath -m "$store/asterisk/source")
  make asterisk ../asterisk/run.sh --stop-stage 1 --nj "$nj" --resume "$resume" --data "$source" --exp "$source" ${asterisk_corpus:+--corpus "$asterisk_corpus"}
  subset asterisk.text "$store/asterisk/source/train.jsonl" "$store/asterisk/text.jsonl"
  subset asterisk.dev "$store/asterisk/source/dev.jsonl" "$store/asterisk/dev.jsonl"
  augment asterisk
}
prepare_an4() {
  subset an4.text "$shared/an4_mfcc/train.jsonl" "$store/an4/text.jsonl"
  subset an4.train "$shared/an4_mfcc/train.jsonl" "$store/an4/train.feats.jsonl"
  subset an4.dev "$shared/an4_mfcc/dev.jsonl" "$store/an4/dev.feats.jsonl"
}
prepare_librispeech_mini() {
  local part out=$store/librispeech-mini
  for part in train-clean-100 dev-clean test-clean test-other; do
    make "mini.$part" ds2 prepare librispeech "${if_stale[@]}" "$shared/LibriSpeech" "$out/source/$part.jsonl" --part "$part" "${parallel[@]}"
  done
  subset mini.text "$out/source/train-clean-100.jsonl" "$out/text.jsonl"
  make mini.dev ds2 data combine "${if_stale[@]}" $out/source/{dev-clean,test-clean,test-other}.jsonl "$out/dev.jsonl"
  augment librispeech-mini
}
prepare_mix() {
  local name
  prepare_asterisk; prepare_librispeech_mini
  for name in text.jsonl train.feats.jsonl dev.feats.jsonl noisy.feats.jsonl; do
    make "mix.$name" ds2 data combine "${if_stale[@]}" "$store/asterisk/$name" "$store/librispeech-mini/$name" "$store/mix/$name"
  done
}
prepare_librispeech() {
  subset librispeech.train "$librispeech/train.feats.jsonl" "$store/librispeech/train.feats.jsonl"
  subset librispeech.text "$librispeech/train.feats.jsonl" "$store/librispeech/text.jsonl"
  subset librispeech.dev "$librispeech/dev-clean.feats.jsonl" "$store/librispeech/dev.feats.jsonl"
  subset librispeech.noisy "$librispeech/dev-other.feats.jsonl" "$store/librispeech/noisy.feats.jsonl"
}

if begin_stage 0 "data: ${sets//$'\n'/ }"; then
  for set in $sets; do
    "prepare_${set//-/_}"
    make "$set.parts" local/parts.sh "$store/$set" "$parts"
  done
fi
if begin_stage 1 "language models from the training transcripts"; then
  for set in $sets; do
    if [[ -n $lm ]]; then make "$set.lm" cp "$lm" "$store/$set/lm.arpa"
    else make "$set.lm" ds2 lm "${if_stale[@]}" "$store/$set/text.jsonl" "$store/$set/lm.arpa" --config conf/lm.toml; fi
  done
fi
if begin_stage 2 "a run per row and seed"; then
  kind=train; [[ $scale == small ]] || kind=full
  rows left "${chosen[@]}" --seeds "$seeds" --root "$exp" --store "$store" --jobs "$nj" | if [[ $dry_run == true ]]; then sed 's/^/# /'; else cat >&2; fi
  if [[ $dry_run == true ]]; then
    while read -r line; do
      eval "words=($line)"
      part=${words[2]} suffix=; [[ $part == 100 ]] || suffix=.$part
      job $kind run ds2 train "${words[1]}/train$suffix.feats.jsonl" "${words[0]}" --dev "${words[1]}/dev.feats.jsonl" "${words[@]:3}"
      # LibriSpeech: 960.9 hours, 281,241 utterances; its texts have about 700 bigrams
      symbols=29; [[ ${words[*]} != *kind=bigram* && ${words[*]} != *m-rnn-7x1760* && ${words[*]} != *100m-rnn* ]] || symbols=700
      [[ $scale == small || ${words[0]} != *".${seeds%% *}" ]] ||
        estimate --hours "$(awk "BEGIN { print 960.9 * $part / 100 }")" --utterances "$((281241 * part / 100))" --symbols "$symbols" --gpu "$gpu" "${words[@]:3}"
    done <<<"$runs"
  else
    mkdir -p "$exp/log"; echo "$runs" >"$exp/log/$title.list"
    log=$exp/log/$title.JOB.log
    runner=("${_runner[@]}"); [[ -n $cmd ]] || runner=("$root/utils/run.sh" --max-jobs "$nj")
    _prepare "$kind"
    _run runs "$log" "${runner[@]}" "${_options[@]}" JOB=1:"$(wc -l <<<"$runs")" "$log" local/train_run.sh "$exp/log/$title.list" JOB
  fi
fi
if begin_stage 3 "the tables, with the paper's values"; then
  job_to "$exp/$title.md" table table python3 local/table.py "${chosen[@]}" --scale "$scale" --seeds "$seeds" --root "$exp" --store "$store"
  for set in $sets; do
    curve=$exp/$scale/$set/CURVE.regular.jsonl hours=20; [[ $scale == small ]] || hours=10000
    [[ $dry_run == true || ! -s $curve || " ${table//,/ } " != *" 10 "* && $table != all ]] ||
      { say "$set: ds2 plan --extrapolate $curve --hours $hours"; ds2 plan --extrapolate "$curve" --hours "$hours"; }
  done
fi

#!/usr/bin/env bash
# Train the recipe with several seeds and both kinds of features, decode with and without the language model, and print a table of the error
# rates of each run, with means and ranges. A run takes 6 to 7 minutes on one core; --nj run at a time, and finished runs are not repeated.
set -euo pipefail
caller=$PWD; cd "$(dirname "$0")"; root=../..
nj=; seeds="0 1 2"; features="spectrogram fbank"; lang=en; exp=exp/seeds; corpus=
help="usage: egs/asterisk/seeds.sh [--nj CORES] [--seeds '0 1 2'] [--features 'spectrogram fbank'] [--lang en] [--exp exp/seeds] [--corpus FOLDER]"
. $root/utils/options.sh
[[ -z $corpus || $corpus == /* ]] || corpus=$caller/$corpus
. $root/utils/path.sh
. $root/utils/cores.sh; nj=${nj:-$cores}; limit_to_cores nj jobs "at a time"
options_of() { [[ $1 == spectrogram ]] || echo "--features conf/featurize.$1.toml"; }
for kind in $features; do
  # shellcheck disable=SC2046 # two words or none
  ./run.sh --stop-stage 2 --lang "$lang" ${corpus:+--corpus "$corpus"} $(options_of "$kind")
done
run_seed() {  # FEATURES SEED
  local dir=$exp/$1.$2
  mkdir -p "$dir"
  # shellcheck disable=SC2046
  [[ -s $dir/test.lm.wer ]] ||
    ./run.sh --stage 3 --stop-stage 8 --nj 1 --lang "$lang" --seed "$2" --exp "$dir" $(options_of "$1") >"$dir/log" 2>&1 ||
    { echo "$dir failed: see $dir/log" >&2; return 1; }
}
export -f run_seed options_of; export exp lang OMP_NUM_THREADS=1
for kind in $features; do
  for seed in $seeds; do echo "$kind $seed"; done
done | xargs -P "$nj" -L 1 bash -c 'run_seed "$@"' run_seed
runs=()
for kind in $features; do
  for seed in $seeds; do runs+=("$exp/$kind.$seed"); done
done
columns=("loss=train.jsonl:loss" "dev WER=dev.greedy.wer:WER" "dev CER=dev.greedy.wer:CER" "dev WER with LM=dev.lm.why:WER")
for kind in "" " with LM"; do
  file=test.$([[ -z $kind ]] && echo greedy || echo lm).wer
  columns+=("test WER$kind=$file:WER" "test CER$kind=$file:CER")
done
$root/utils/seed_table.py "${runs[@]}" "${columns[@]}"

#!/usr/bin/env bash
# Train the recipe on AN4's cepstra with several seeds, and print a table of the error rates. A run takes 10 minutes of one core; --nj run at a time, and
# finished runs are not repeated.
set -euo pipefail
caller=$PWD; cd "$(dirname "$0")"; root=../..
nj=; seeds="0 1 2"; cepstra=${AN4_CEPSTRA:-$root/../shared/data/an4_mfcc}; conf=conf/train.toml; exp=exp/seeds
help="usage: egs/an4/seeds.sh [--nj CORES] [--seeds '0 1 2'] [--cepstra FOLDER] [--conf conf/train.toml] [--exp exp/seeds]"
. $root/utils/options.sh
[[ $cepstra == /* || $cepstra == "$root"/* ]] || cepstra=$caller/$cepstra
cepstra=$(cd "$cepstra" && pwd) || { echo "egs/an4/seeds.sh: no cepstra (--cepstra FOLDER, or AN4_CEPSTRA=FOLDER)" >&2; exit 2; }
. $root/utils/path.sh
. $root/utils/cores.sh; nj=${nj:-$cores}; limit_to_cores nj jobs "at a time"
run_seed() {  # SEED
  local dir=$exp/cepstra.$1
  mkdir -p "$dir"
  [[ -s $dir/dev.lm.wer ]] || ./run.sh --cepstra "$cepstra" --nj 1 --conf "$conf" --seed "$1" --exp "$dir" --resume true >"$dir/log" 2>&1 ||
    { echo "$dir failed: see $dir/log" >&2; return 1; }
}
export -f run_seed; export exp cepstra conf OMP_NUM_THREADS=1
# shellcheck disable=SC2086
printf '%s\n' $seeds | xargs -P "$nj" -L 1 bash -c 'run_seed "$@"' run_seed
# shellcheck disable=SC2086
$root/utils/seed_table.py $(printf "$exp/cepstra.%s " $seeds) loss=train.jsonl:loss "dev WER=dev.greedy.wer:WER" "dev CER=dev.greedy.wer:CER" \
  "dev WER with LM=dev.lm.wer:WER" "dev CER with LM=dev.lm.wer:CER"

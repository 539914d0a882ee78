#!/usr/bin/env bash
# Run the recipe with several seeds on corpora of several kinds, and print a table of what each run has learned. --nj run at a time, on one thread
# each; finished runs are not repeated. asterisk is fetched with apt-get; AN4's cepstra, LibriSpeech and FSDD come from --shared.
set -euo pipefail
caller=$PWD; cd "$(dirname "$0")"; root=../..
nj=; seeds="0 1 2 3 4"; corpora="asterisk-en asterisk-es an4 librispeech fsdd"; shared=$root/../shared/data; exp=exp/seeds; data=data/seeds; conf=
help="usage: egs/own/seeds.sh [--nj CORES] [--seeds '0 1 2 3 4'] [--corpora 'asterisk-en asterisk-es an4 librispeech fsdd'] [--shared FOLDER]
                       [--exp exp/seeds] [--data data/seeds] [--conf FILE]   (settings that replace recommended ones)"
. $root/utils/options.sh
. $root/utils/path.sh
. $root/utils/cores.sh; nj=${nj:-$cores}; limit_to_cores nj jobs "at a time"
[[ $shared == /* || $shared == "$root"/* ]] || shared=$caller/$shared
[[ -z $conf || $conf == /* ]] || conf=$caller/$conf
for path in exp data shared; do [[ ${!path} == /* ]] || printf -v "$path" %s "$PWD/${!path}"; done
mkdir -p "$data" "$exp"

# the options of run.sh for a corpus
source_of() {  # CORPUS
  case $1 in
    asterisk-*) echo "--rows $data/$1.train.jsonl --dev $data/$1.dev.jsonl --test $data/$1.test.jsonl --lang ${1#asterisk-}" ;;
    an4) echo "--rows $shared/an4_mfcc/train.jsonl --dev $shared/an4_mfcc/dev.jsonl" ;;
    librispeech) echo "--rows $data/librispeech.jsonl" ;;
    fsdd) echo "--audio $data/fsdd.csv" ;;
    *) echo "egs/own/seeds.sh: --corpora: no corpus $1 (asterisk-en, asterisk-es, an4, librispeech, fsdd)" >&2; return 2 ;;
  esac
}
fetch() {  # CORPUS
  case $1 in
    asterisk-*)
      for part in train dev test; do
        ds2 prepare asterisk --if-stale --download "$root/egs/asterisk/corpus/${1#asterisk-}" "$data/$1.$part.jsonl" --lang "${1#asterisk-}" --part $part
      done ;;
    librispeech) ds2 prepare librispeech --if-stale "$shared/LibriSpeech" "$data/librispeech.jsonl" --part train-clean-100 ;;
    fsdd) python3 local/fsdd.py "$shared/fsdd/recordings" "$data/fsdd.csv" ;;
  esac
}
run_seed() {  # CORPUS SEED
  local dir=$exp/$1.$2
  mkdir -p "$dir"
  [[ ! -s $dir/report.md ]] || return 0
  # shellcheck disable=SC2046 # several words
  ./run.sh $(source_of "$1") --nj 1 --seed "$2" --exp "$dir" --data "$data/$1.$2" ${conf:+--conf "$conf"} --resume true >"$dir/log" 2>&1 ||
    { echo "$dir failed: see $dir/log" >&2; return 1; }
}
for corpus in $corpora; do source_of "$corpus" >/dev/null; fetch "$corpus"; done
export -f run_seed source_of; export exp data shared conf OMP_NUM_THREADS=1
status=0
for seed in $seeds; do for corpus in $corpora; do echo "$corpus $seed"; done; done | xargs -P "$nj" -L 1 bash -c 'run_seed "$@"' run_seed || status=$?
runs=()
for corpus in $corpora; do
  for seed in $seeds; do runs+=("$exp/$corpus.$seed"); done
done
columns=("loss=train.jsonl:loss")
for part in dev test; do
  columns+=("$part CER=$part.greedy.wer:CER" "$part WER=$part.greedy.wer:WER" "$part WER with LM=$part.lm.wer:WER")
done
$root/utils/seed_table.py "${runs[@]}" "${columns[@]}" 'verdict=report.md:^The network has ([a-z ]+):'
exit "$status"

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
python3 - "$exp" "$features" "$seeds" <<'P'
import json, pathlib, re, sys
from statistics import mean
exp, kinds, seeds = pathlib.Path(sys.argv[1]), sys.argv[2].split(), sys.argv[3].split()
rate = lambda path, unit: float(re.search(rf"%{unit} ([0-9.]+)", path.read_text())[1])
columns = ("dev WER", "dev CER", "dev WER with LM", "test WER", "test CER", "test WER with LM", "test CER with LM")
print(f"| features, seed | loss | {' | '.join(columns)} |\n|:--|{'--:|' * (len(columns) + 1)}")
for kind in kinds:
    runs = []
    for seed in seeds:
        run = exp / f"{kind}.{seed}"
        epochs = [json.loads(line) for line in (run / "train.jsonl").open()]
        best = min(epochs, key=lambda epoch: epoch["dev_cer"])
        greedy, lm = run / "test.greedy.wer", run / "test.lm.wer"
        values = [best["dev_wer"], best["dev_cer"], rate(run / "dev.lm.why", "WER")]
        values += [rate(greedy, "WER"), rate(greedy, "CER"), rate(lm, "WER"), rate(lm, "CER")]
        runs.append(values)
        print(f"| {kind}, {seed} | {epochs[-1]['loss']:.3f} | " + " | ".join(f"{v:.2f}" for v in values) + " |")
    cells = [f"{mean(column):.1f} ({min(column):.1f}-{max(column):.1f})" for column in zip(*runs)]
    print(f"| **{kind}, mean and range** | | " + " | ".join(cells) + " |")
P

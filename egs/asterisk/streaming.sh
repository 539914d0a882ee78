#!/usr/bin/env bash
# What listening as it goes costs: train the network of conf/streaming.toml with several look-aheads, and the bidirectional one of conf/train.toml,
# decode with and without the language model, and print a table. A run takes 6 to 7 minutes on one core; finished runs are not repeated.
set -euo pipefail
caller=$PWD; cd "$(dirname "$0")"; root=../..
nj=; seeds=0; steps="0 10 20 40"; lang=en; conf=conf/streaming.toml; base=conf/train.toml; exp=exp/streaming; data=; corpus=
help="usage: egs/asterisk/streaming.sh [--nj CORES] [--seeds 0] [--steps '0 10 20 40'] [--lang en] [--conf conf/streaming.toml] [--base conf/train.toml]
                                  [--exp exp/streaming] [--data data/LANG] [--corpus FOLDER]
steps: look-ahead of the row convolution (row_conv of CONF); base: the network to compare with"
. $root/utils/options.sh
data=${data:-data/$lang}
[[ -z $corpus || $corpus == /* ]] || corpus=$caller/$corpus
. $root/utils/path.sh
. $root/utils/cores.sh; nj=${nj:-$cores}; limit_to_cores nj jobs "at a time"
grep -q "^row_conv = " "$conf" || { echo "$conf: expected a line 'row_conv = STEPS'" >&2; exit 2; }
featurize() {  # DATA [OPTION…]
  [[ -s $1/test.feats.jsonl ]] || ./run.sh --stop-stage 2 --lang "$lang" --data "$@" ${corpus:+--corpus "$corpus"}
}
featurize "$data"
featurize "$data-streaming" --features conf/featurize.streaming.toml
train_and_score() {  # STEPS or "bidirectional", SEED
  local dir=$exp/$1.$2 options="--data $data --conf $base"
  [[ ! -s $dir/test.lm.wer ]] || return 0
  mkdir -p "$dir"
  if [[ $1 != bidirectional ]]; then
    sed "s/^row_conv = .*/row_conv = $1/" "$conf" >"$dir/network.toml"
    options="--data $data-streaming --conf $dir/network.toml"
  fi
  # shellcheck disable=SC2086 # several words
  ./run.sh --stage 3 --stop-stage 8 --nj 1 --lang "$lang" --seed "$2" --exp "$dir" $options >"$dir/log" 2>&1 ||
    { echo "$dir failed: see $dir/log" >&2; return 1; }
}
export -f train_and_score; export exp data lang conf base OMP_NUM_THREADS=1
for seed in $seeds; do
  for network in bidirectional $steps; do echo "$network $seed"; done
done | xargs -P "$nj" -L 1 bash -c 'train_and_score "$@"' train_and_score
for network in bidirectional $steps; do
  ds2 model show "$exp/$network.${seeds%% *}" | tail -n 1 >"$exp/$network.${seeds%% *}/look-ahead"
done
python3 - "$exp" "$steps" "$seeds" <<'P'
import json, pathlib, re, sys
from statistics import mean
exp, networks, seeds = pathlib.Path(sys.argv[1]), ["bidirectional", *sys.argv[2].split()], sys.argv[3].split()
def count(path):  # errors, words
    errors, words = re.search(r"%WER +[0-9.]+ +\[ (\d+) / (\d+)", path.read_text()).groups()
    return int(errors), int(words)
columns = ("look-ahead", "dev WER", "dev WER with LM", "test WER", "test WER with LM", "both with LM", "relative")
print(f"| look-ahead, steps | {' | '.join(columns)} |\n|:--|{'--:|' * len(columns)}")
both = {}
for network in networks:
    runs = []
    for run in (exp / f"{network}.{seed}" for seed in seeds):
        best = min((json.loads(line) for line in (run / "train.jsonl").open()), key=lambda epoch: epoch["dev_cer"])
        dev, greedy, test = (count(run / name) for name in ("dev.lm.why", "test.greedy.wer", "test.lm.wer"))
        rates = [100 * errors / words for errors, words in (dev, greedy, test, (dev[0] + test[0], dev[1] + test[1]))]
        runs.append([best["dev_wer"], *rates])
    values = [mean(column) for column in zip(*runs)]
    both[network] = values[-1]
    ahead = (exp / f"{network}.{seeds[0]}" / "look-ahead").read_text().removeprefix("look-ahead").strip()
    relative = f"{100 * (both[network] / both['bidirectional'] - 1):+.0f} %" if network != "bidirectional" else ""
    print(f"| {network} | {ahead} | " + " | ".join(f"{value:.2f}" for value in values) + f" | {relative} |")
P

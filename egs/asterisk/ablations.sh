#!/usr/bin/env bash
# Measure the parts of the paper on 20 minutes of speech: train each file of conf/ablations with several seeds, print a table of means.
# Run stages 0 to 3 of run.sh first. Each training run takes 3 to 4 minutes on one core; finished runs are not repeated.
set -euo pipefail
cd "$(dirname "$0")"; root=../..
nj=; seeds="1 2 3"; only=; lang=en; exp=exp/ablations; data=
help="usage: egs/asterisk/ablations.sh [--nj CORES] [--seeds '1 2 3'] [--only NAME] [--lang en] [--exp exp/ablations] [--data data/LANG]"
. $root/utils/options.sh
data=${data:-data/$lang}
. $root/utils/path.sh
. $root/utils/cores.sh; nj=${nj:-$cores}; limit_to_cores nj jobs "at a time"
[[ -f exp/$lang/lm.arpa ]] || ds2 lm "$data/train.jsonl" "exp/$lang/lm.arpa" --config conf/lm.toml
train_and_score() {  # NAME SEED
  local dir=$exp/$1.$2
  ds2 train "$data/train.feats.jsonl" "$dir" --dev "$data/dev.feats.jsonl" --config conf/train.toml --config conf/gru.toml \
    --config "conf/ablations/$1.toml" --seed "$2" --keep last &&
    ds2 emit "$dir" "$data/dev.feats.jsonl" "$dir/dev.emit.jsonl" &&
    ds2 decode "$dir" "$dir/dev.emit.jsonl" "$dir/dev.lm.jsonl" --lm "exp/$lang/lm.arpa" &&
    ds2 score "$dir/dev.lm.jsonl" --unit word >"$dir/dev.lm.wer"
}
export -f train_and_score; export exp data lang OMP_NUM_THREADS=1
jobs=()
for conf in conf/ablations/${only:-*}.toml; do
  for seed in $seeds; do jobs+=("$(basename "$conf" .toml) $seed"); done
done
printf '%s\n' "${jobs[@]}" | xargs -P "$nj" -L 1 bash -c 'mkdir -p "$exp/$0.$1"; train_and_score "$0" "$1" >"$exp/$0.$1/log" 2>&1 || { echo "$0.$1 failed: see $exp/$0.$1/log" >&2; exit 255; }'
python3 - "$exp" <<'P'
import json, pathlib, re, sys
from statistics import mean
runs_by_name = {}
for log in sorted(pathlib.Path(sys.argv[1]).glob("*/train.jsonl")):
    rows = [json.loads(line) for line in log.open()]
    wer = log.with_name("dev.lm.wer")
    if not wer.is_file():
        continue
    row = rows[-1] | {"first": rows[0]["loss"], "lm_wer": float(re.search(r"%WER ([0-9.]+)", wer.read_text())[1])}
    runs_by_name.setdefault(log.parent.name.rpartition(".")[0], []).append(row)
print("| | runs | loss, first epoch | loss, last | dev CER | dev WER | dev WER with LM |\n|:--|--:|--:|--:|--:|--:|--:|")
for name, runs in sorted(runs_by_name.items(), key=lambda item: item[0] != "gru"):
    cells = [f"{mean(r[field] for r in runs):.{digits}f}" for field, digits in (("first", 2), ("loss", 3))]
    for field in ("dev_cer", "dev_wer", "lm_wer"):
        values = [r[field] for r in runs]
        cells.append(f"{mean(values):.1f} ({min(values):.1f}-{max(values):.1f})")
    print(f"| {name} | {len(runs)} | " + " | ".join(cells) + " |")
P

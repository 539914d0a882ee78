#!/usr/bin/env bash
# Parts of a training set, and the utterances of it that are decoded: parts.sh DATA 'PERCENT…' writes DATA/heard.feats.jsonl, and for each part DATA/train.PERCENT.ids,
# DATA/train.PERCENT.hours and DATA/train.PERCENT.feats.jsonl.
set -euo pipefail
cd "$(dirname "$0")/.."
data=$1
ds2 data subset --if-stale "$data/train.feats.jsonl" "$data/heard.feats.jsonl" --random 100
for part in $2; do
  python3 local/parts.py nested "$data/train.feats.jsonl" "$part" "$data/train.$part.ids" >"$data/train.$part.hours"
  ds2 data subset --if-stale "$data/train.feats.jsonl" "$data/train.$part.feats.jsonl" --ids "$data/train.$part.ids"
done

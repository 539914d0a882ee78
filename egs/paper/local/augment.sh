#!/usr/bin/env bash
# Augmented copies of recordings: augment.sh DATA NOISE writes DATA/train.jsonl, with three copies of each row of DATA/text.jsonl, as three epochs of augmentation
# (section 5.2 of the paper: noise in 40 %, at 0 to 30 dB; and speeds), and DATA/noisy.jsonl, DATA/dev.jsonl with noise in every recording.
set -euo pipefail
cd "$(dirname "$0")/.."
data=$1 noise=$2 all=1000000000
stamp=$(cat "$data/text.jsonl" "$data/dev.jsonl" "$noise"/*.jsonl local/augment.sh | sha256sum)
[[ ! -f $data/augmented.sha256 || $(<"$data/augmented.sha256") != "$stamp" ]] || exit 0
for copy in 0 1 2; do
  mkdir -p "$data/augmented/$copy"
  ds2 data augment "$data/text.jsonl" "$data/augmented/$copy" --first $all --epoch "$copy" --set augment.noise="$noise/train.jsonl" --set augment.speeds=[0.9,1.0,1.1] >"$data/augmented/$copy.txt"
  python3 local/parts.py copies "$data/text.jsonl" "$data/augmented/$copy" "$copy" "$data/augmented/$copy.jsonl"
done
ds2 data combine "$data"/augmented/{0,1,2}.jsonl "$data/train.jsonl"
mkdir -p "$data/augmented/noisy"
ds2 data augment "$data/dev.jsonl" "$data/augmented/noisy" --first $all --set augment.noise="$noise/dev.jsonl" --set augment.noise_share=1 >"$data/augmented/noisy.txt"
python3 local/parts.py copies "$data/dev.jsonl" "$data/augmented/noisy" noisy "$data/noisy.jsonl"
echo "$stamp" >"$data/augmented.sha256"

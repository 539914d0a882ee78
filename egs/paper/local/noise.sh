#!/usr/bin/env bash
# Manifests of noise: noise.sh FOLDER OUT. Every third recording is for dev sets, so that their noise is new to a network.
set -euo pipefail
cd "$(dirname "$0")/.."
[[ -d $1 ]] || { echo "egs/paper: no folder $1 with recordings of noise (--shared FOLDER)" >&2; exit 2; }
mkdir -p "$2"
number=0
: >"$2/train.part"; : >"$2/dev.part"
for file in "$1"/*; do
  name=$(basename "$file"); side=train; [[ $((number++ % 3)) -ne 0 ]] || side=dev
  echo "{\"id\":\"${name%.*}\",\"audio_filepath\":\"$(realpath "$file")\"}" >>"$2/$side.part"
done
for side in train dev; do mv "$2/$side.part" "$2/$side.jsonl"; done

#!/usr/bin/env bash
# Copy the network of an experiment, without the weights of its search, which are of one language model: local/copy_network.sh EXP OUT
set -euo pipefail
[[ $# -eq 2 ]] || { echo "usage: $0 EXP OUT" >&2; exit 2; }
mkdir -p "$2"
for name in best.safetensors tokens.txt pieces.model; do
  [[ ! -f $1/$name ]] || cmp -s "$1/$name" "$2/$name" || cp "$1/$name" "$2/$name"
done

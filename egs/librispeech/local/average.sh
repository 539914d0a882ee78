#!/usr/bin/env bash
# Average the epochs that ds2 train has kept in EXP, into the folder OUT: local/average.sh EXP OUT. With one epoch, OUT gets the best network itself.
set -euo pipefail
[[ $# -eq 2 ]] || { echo "usage: $0 EXP OUT" >&2; exit 2; }
exp=$1 out=$2
shopt -s nullglob
epochs=("$exp"/epoch-*.safetensors)
mkdir -p "$out"
new=$out/new.safetensors
if [[ ${#epochs[@]} -ge 2 ]]; then ds2 model average "${epochs[@]}" "$new"; else cp "$exp/best.safetensors" "$new"; fi
for file in "$exp"/{tokens.txt,pieces.model}; do [[ ! -f $file ]] || cp "$file" "$out/"; done
# an unchanged network keeps its time, so that jobs on parts can be continued
if cmp -s "$new" "$out/best.safetensors"; then rm "$new"; else mv "$new" "$out/best.safetensors"; fi

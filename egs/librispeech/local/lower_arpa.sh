#!/usr/bin/env bash
# Convert a published ARPA file (capitals, compressed) to a KenLM binary in lower case: local/lower_arpa.sh 4-gram.arpa.gz 4-gram.bin
# Does nothing if the binary is newer. The words have no other letters than A to Z. Needs the size of the ARPA file in $TMPDIR, and KenLM's build_binary (make kenlm).
set -euo pipefail
[[ $# -eq 2 ]] || { echo "usage: $0 IN.arpa.gz OUT.bin" >&2; exit 2; }
[[ ! $2 -nt $1 ]] || exit 0
root=$(cd "$(dirname "$0")/../../.." && pwd)
PATH=$PATH${KENLM_BIN:+:$KENLM_BIN}:$root/tools/kenlm/bin
command -v build_binary >/dev/null || { echo "$0: no build_binary of KenLM (make kenlm)" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$(dirname "$2")"
gzip -dc "$1" | LC_ALL=C tr A-Z a-z >"$work/lower.arpa"
build_binary -T "$work" probing "$work/lower.arpa" "$2.part" >&2
mv "$2.part" "$2"

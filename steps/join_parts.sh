#!/usr/bin/env bash
# Join the parts that a row filter wrote: steps/join_parts.sh [--max-bad PERCENT] [--command TEXT] PART.jsonl… OUT
# Rows go to OUT, dropped rows to OUT.dropped.jsonl, the settings of the first part to OUT.config.toml with --command as their command.
set -euo pipefail
max_bad=; command=
help="usage: $0 [--max-bad PERCENT] [--command TEXT] PART… OUT"
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/utils/options.sh"
root=$here; . "$here/utils/path.sh"
[[ $# -ge 2 && $max_bad =~ ^([0-9]+(\.[0-9]*)?)?$ ]] || { echo "$help" >&2; exit 2; }
parts=("${@:1:$#-1}"); out=${*: -1}
write_file() { mkdir -p "$(dirname "$1")"; cat >"$1.part"; mv "$1.part" "$1"; }

drops=()
for file in "${parts[@]}"; do [[ ! -e $file.dropped.jsonl ]] || drops+=("$file.dropped.jsonl"); done
kept=$(cat "${parts[@]}" | wc -l)
dropped=$(cat /dev/null "${drops[@]}" | wc -l)
bad=$(cat /dev/null "${drops[@]}" | grep -c '"bad": true}$' || true)
pipe=false; [[ $out != - && $out != /dev/* ]] || pipe=true
list_refused() {
  # an earlier result and its list stay
  list=dropped; [[ ! -e $out ]] || list=refused
  [[ $pipe == true || ${#drops[@]} -eq 0 ]] || cat "${drops[@]}" | write_file "$out.$list.jsonl"
}
if awk "BEGIN { exit !(100 * $bad > ${max_bad:-100} * ($kept + $bad)) }"; then
  list_refused
  echo "steps/join_parts.sh: refused, $bad of $((kept + bad)) utterances are bad (allowed $max_bad %; raise the limit with --max-bad)" >&2
  exit 1
fi
any=(); ! awk "BEGIN { exit !(${max_bad:-0} >= 100) }" || any=(--max-bad 100)
if [[ $kept -eq 0 && $dropped -gt 0 && ${#any[@]} -eq 0 ]]; then
  list_refused
  echo "steps/join_parts.sh: refused, none of $dropped utterances is kept" >&2
  exit 1
fi
ds2 data combine "${parts[@]}" "$out" "${any[@]}"
echo "steps/join_parts.sh: $((kept + dropped)) in = $kept kept + $dropped dropped, ${#parts[@]} parts" >&2
[[ $pipe == false ]] || exit 0
[[ ${#drops[@]} -eq 0 ]] || cat "${drops[@]}" | write_file "$out.dropped.jsonl"
[[ -e ${parts[0]}.config.toml ]] || exit 0
export command kept dropped max_bad
awk '
  /^command = / && ENVIRON["command"] {
    text = ENVIRON["command"]; gsub(/[\\"]/, "\\\\&", text); sub(/ $/, "", text); $0 = "command = \"" text "\""
  }
  /^(kept|dropped) = [0-9]+$/ { $0 = $1 " = " ENVIRON[$1] }
  /^max_bad = / && ENVIRON["max_bad"] { $0 = "max_bad = " ENVIRON["max_bad"] }
  { print }' "${parts[0]}.config.toml" | write_file "$out.config.toml"

#!/usr/bin/env bash
# Join the parts that a row filter wrote: steps/join_parts.sh [--max-bad PERCENT] [--in IN] [--command TEXT] PART.jsonl… OUT
# Rows go to OUT, dropped rows to OUT.dropped.jsonl, and with --in, the settings to OUT.config.toml as if --command had run once, over IN.
set -euo pipefail
max_bad=; in=; command=
help="usage: $0 [--max-bad PERCENT] [--in IN] [--command TEXT] PART… OUT"
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
any=(); [[ -z $max_bad ]] || any=(--max-bad "$max_bad")
if [[ $kept -eq 0 && $dropped -gt 0 ]] && awk "BEGIN { exit !(${max_bad:-0} < 100) }"; then
  list_refused
  echo "steps/join_parts.sh: refused, none of $dropped utterances is kept" >&2
  exit 1
fi
record=(--parts-of "$in"); [[ -z $command ]] || record+=(--command "${command% }")
[[ $pipe == false && -n $in ]] || record=()
ds2 data combine "${parts[@]}" "$out" "${any[@]}" "${record[@]}"
echo "steps/join_parts.sh: $((kept + dropped)) in = $kept kept + $dropped dropped, ${#parts[@]} parts" >&2
[[ $pipe == true || ${#drops[@]} -eq 0 ]] || cat "${drops[@]}" | write_file "$out.dropped.jsonl"

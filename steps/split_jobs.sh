#!/usr/bin/env bash
# Run a row filter as parallel jobs: steps/split_jobs.sh [--nj 4] [--run "utils/slurm.sh --mem 4G"] IN OUT LOGDIR ds2 decode EXP {in} {out} …
# Splits IN into --nj parts, of a row or more each, runs COMMAND on each with {in}, {out} and JOB replaced, and joins the results to OUT, dropped rows and settings
# next to it, as if COMMAND had run once: its --max-bad counts for all parts together. After a failure, --resume runs only the missing parts; with --restart
# also all parts, if COMMAND or what it reads has changed since, where --resume alone refuses.
set -euo pipefail
# bash 5.2 would replace & in a path by the matched text
shopt -u patsub_replacement 2>/dev/null || true
nj=4; run=; resume=false; restart=false
help="usage: $0 [--nj 4] [--run \"utils/run.sh --max-jobs 2\"] [--resume [--restart]] IN OUT LOGDIR COMMAND (with {in}, {out} and JOB in it)"
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/utils/options.sh"
root=$here; . "$here/utils/path.sh"
[[ $# -ge 4 && $nj =~ ^[1-9][0-9]*$ ]] || { echo "$help" >&2; exit 2; }
fail() { echo "steps/split_jobs.sh: $1" >&2; exit "${2:-2}"; }
in=$1; out=$2; dir=$3; shift 3
name=${out##*/}; name=${name%.gz}; name=${name%.jsonl}; [[ $name != - ]] || name=stdout
log=$dir/$name.JOB.log part=$dir/$name.parts
[[ $part != *JOB* ]] || fail "$dir/$name: JOB is replaced by the number of a part (choose another name)"
[[ $* == *{in}* && $* == *{out}* ]] || fail "COMMAND must contain {in} and {out}, the files of a part: $*"
[[ " $* " != *" --dropped"* ]] || fail "--dropped cannot be used here (omit it; dropped rows go to $out.dropped.jsonl)"
if [[ -n $run ]]; then read -ra run <<<"$run"; else run=("$here/utils/run.sh"); fi

once=("${@//\{in\}/$in}"); once=("${once[@]//\{out\}/$out}")
args=() max_bad=
if [[ ${1##*/} == ds2 ]]; then
  max_bad=1.0
  while [[ $# -gt 0 ]]; do
    case $1 in
      --max-bad) max_bad=${2-}; shift $(($# > 1)) ;;
      --max-bad=*) max_bad=${1#*=} ;;
      *) args+=("$1") ;;
    esac
    shift
  done
  [[ $max_bad =~ ^[0-9]+(\.[0-9]*)?$ ]] || fail "--max-bad: expected a percentage, got '$max_bad'"
  set -- "${args[@]}" --max-bad 100
fi

stamp=$part/command
same=$(printf '%q ' "$nj" "$in" "$@")
changed() { if [[ $restart == true ]]; then echo "steps/split_jobs.sh: $1: all parts run again" >&2; resume=false; else fail "--resume: $1 (omit --resume to run all parts again)"; fi; }
[[ -e $stamp ]] || resume=false
if [[ $resume == true ]]; then
  [[ $in != - ]] || fail "--resume: standard input cannot be read again (give a file as IN)"
  [[ $(<"$stamp") == "$same" ]] || changed "the command, IN or --nj differs from the earlier run"
  # of a folder that is an experiment: the files that decoding reads
  for word in "$in" "$@"; do
    for file in "$word" "$word"/{best.safetensors,decode.toml}; do
      [[ $resume == false || ! -f $file || ! $file -nt $stamp ]] || changed "$file has changed since the earlier run"
    done
  done
fi
if [[ $resume == false ]]; then
  rm -f "$stamp" "$part"/*.jsonl "$part"/*.toml
  ds2 data split "$in" "$part/in.JOB.jsonl" --parts "$nj" --allow-empty
  # a part without rows needs no job
  filled=0
  for ((job = 1; job <= nj; job++)); do
    [[ ! -s $part/in.$job.jsonl ]] || mv "$part/in.$job.jsonl" "$part/in.$((++filled)).filled"
  done
  rm -f "$part"/in.*.jsonl
  [[ $filled -gt 0 ]] || : >"$part/in.$((++filled)).filled"
  for file in "$part"/in.*.filled; do mv "$file" "${file%.filled}.jsonl"; done
  [[ $filled -eq $nj ]] || echo "steps/split_jobs.sh: --nj $nj: $filled used, as $in has no more rows" >&2
  echo "$same" >"$stamp"
fi

inputs=("$part"/in.*.jsonl); nj=${#inputs[@]}
parts=() missing=()
for ((job = 1; job <= nj; job++)); do
  parts+=("$part/$name.$job.jsonl")
  # dropped rows and settings are written after the rows: only a job that ended with status 0 is complete
  [[ -e ${parts[-1]} ]] && grep -qs '# ended .*, status 0$' "${log//JOB/$job}" || missing+=("$job")
done
args=("${@//\{in\}/$part/in.JOB.jsonl}"); args=("${args[@]//\{out\}/$part/$name.JOB.jsonl}")
if [[ ${#missing[@]} -gt 0 ]]; then
  jobs=1:$nj; [[ ${#missing[@]} -eq $nj ]] || jobs=$(IFS=,; echo "${missing[*]}")
  resume_hint="run the same command with --resume to run only the missing parts"
  stop() { trap - INT TERM HUP; kill "$runner" 2>/dev/null || true; wait "$runner" || true; fail "interrupted; $resume_hint" 130; }
  trap stop INT TERM HUP
  "${run[@]}" JOB="$jobs" "$log" "${args[@]}" & runner=$!
  wait "$runner" || fail "$out was not written; $resume_hint" $?
  trap - INT TERM HUP
fi
"$here/steps/join_parts.sh" --max-bad "$max_bad" --in "$in" --command "$(printf '%q ' "${once[@]}")" "${parts[@]}" "$out"

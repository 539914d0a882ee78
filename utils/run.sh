#!/usr/bin/env bash
# Run a command as parallel jobs, a log each: utils/run.sh [--max-jobs N] JOB=1:4 exp/log/x.JOB.log ds2 … JOB …
# JOB becomes the job's number. Fails when a job fails, and shows the end of its log. Ctrl-C ends all jobs.
set -euo pipefail
((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 501)) ||
  { echo "utils/run.sh: needs bash 5.1 or later, this is $BASH_VERSION (fix: run it with a newer bash)" >&2; exit 2; }
max_jobs=0
help="usage: $0 [--max-jobs N] [JOB=1:N] LOG COMMAND…"
. "$(dirname "$0")/options.sh"
range=1:1; if [[ ${1-} == JOB=*:* ]]; then range=${1#JOB=}; shift; fi
[[ $# -ge 2 ]] || { echo "$help" >&2; exit 2; }
log=$1; shift
declare -A logs=()
failed=0
trap 'kill "${!logs[@]}" 2>/dev/null; exit 130' INT TERM
reap() {
  local pid status=0
  wait -n -p pid "${!logs[@]}" || status=$?
  if [[ $status -ne 0 ]]; then
    failed=1
    echo "utils/run.sh: job failed with status $status, the end of ${logs[$pid]}:" >&2
    tail -n 5 "${logs[$pid]}" >&2
  fi
  unset "logs[$pid]"
}
for ((job = ${range%:*}; job <= ${range#*:}; job++)); do
  file=${log//JOB/$job}; mkdir -p "$(dirname "$file")"
  args=("${@//JOB/$job}")
  {
    printf '# %s\n# started %s\n' "${args[*]}" "$(date -Is)"
    start=$SECONDS status=0
    "${args[@]}" || status=$?
    printf '# ended %s, %s s, status %s\n' "$(date -Is)" $((SECONDS - start)) "$status"
    exit "$status"
  } >"$file" 2>&1 &
  logs[$!]=$file
  while [[ $max_jobs -gt 0 && ${#logs[@]} -ge $max_jobs ]]; do reap; done
done
while [[ ${#logs[@]} -gt 0 ]]; do reap; done
exit "$failed"

#!/usr/bin/env bash
# Run a command as parallel jobs with one log each: utils/run.sh [--max-jobs N] JOB=1:4 exp/log/x.JOB.log ds2 … JOB …
# At most one job per core runs at a time (with --num-threads N, or OMP_NUM_THREADS=N, one per N cores); the jobs share the cores.
# JOB is replaced by the job number; JOB=2,5:7 runs only jobs 2, 5, 6 and 7. Fails if a job fails, and prints the end of its log. Ctrl-C stops all jobs.
set -euo pipefail
trap 'exit 130' INT TERM HUP
((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 501)) ||
  { echo "utils/run.sh: expected bash 5.1 or later, this is $BASH_VERSION (run it with a newer bash)" >&2; exit 2; }
max_jobs=0; num_threads=; mem=; gpu=; time=; partition=; nodes=1
help="usage: $0 [--max-jobs N] [--num-threads N] [JOB=1:N] LOG COMMAND…
  --num-threads sets OMP_NUM_THREADS, and is that variable by default; --mem, --gpu, --time and --partition of utils/slurm.sh are accepted and ignored"
here=$(cd "$(dirname "$0")" && pwd)
. "$here/options.sh"
. "$here/parse_jobs.sh"
[[ $nodes == 1 ]] || { echo "utils/run.sh: --nodes $nodes: expected 1, this machine (several nodes: utils/slurm.sh)" >&2; exit 2; }
root=$here/..; . "$here/cores.sh"
# the first of its numbers, one for each level of nesting; ds2 sets it to the number of cores, for what it starts as well
[[ ! ${OMP_NUM_THREADS-} =~ ^[[:space:]]*([1-9][0-9]*)[[:space:]]*(,|$) ]] || num_threads=${num_threads:-${BASH_REMATCH[1]}}
[[ -z $num_threads ]] || limit_to_cores num_threads "threads per job" used
[[ $max_jobs -gt 0 && $max_jobs -lt ${#job_numbers[@]} ]] || max_jobs=${#job_numbers[@]}
each=; [[ ${num_threads:-1} -eq 1 ]] || each=" of $num_threads threads"
limit_to_cores max_jobs "jobs$each" "at a time" "${num_threads:-1}"
num_threads=${num_threads:-$((cores > max_jobs ? cores / max_jobs : 1))}
export OMP_NUM_THREADS=$num_threads
declare -A logs=()
failed=0
stop_all_jobs() {
  # `timeout` signals twice: the second one must not end this before all jobs have theirs
  trap '' INT TERM HUP
  # each job is a process group, so that its child processes stop too
  for pid in "${!logs[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
  trap 'exit 130' INT TERM HUP
  wait
  exit 130
}
trap stop_all_jobs INT TERM HUP
reap() {
  local pid status=0
  wait -n -p pid "${!logs[@]}" || status=$?
  if [[ $status -ne 0 ]]; then
    failed=1
    echo "utils/run.sh: job failed with status $status; the end of ${logs[$pid]}:" >&2
    tail -n 5 "${logs[$pid]}" >&2
  fi
  unset "logs[$pid]"
}
set -m
for job in "${job_numbers[@]}"; do
  file=${log//JOB/$job}
  "$here/job.sh" "${@//JOB/$job}" >"$file" 2>&1 </dev/null &
  logs[$!]=$file
  while [[ ${#logs[@]} -ge $max_jobs ]]; do reap; done
done
while [[ ${#logs[@]} -gt 0 ]]; do reap; done
exit "$failed"

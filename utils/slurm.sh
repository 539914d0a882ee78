#!/usr/bin/env bash
# Run a command as one Slurm job array: utils/slurm.sh [--mem 4G] [--max-jobs N] JOB=1:4 exp/log/x.JOB.log ds2 … JOB …
# Waits for the array; Ctrl-C cancels it. Options that a site always needs: export DS2_SBATCH="--account=speech --qos=short"
set -euo pipefail
trap 'exit 130' INT TERM HUP
max_jobs=0; num_threads=; mem=; gpu=; time=; partition=; nodes=
help="usage: $0 [--max-jobs N] [--num-threads N] [--mem 4G] [--gpu N] [--time 4:00:00] [--partition NAME] [--nodes N] [JOB=1:N] LOG COMMAND…
  --num-threads also sets OMP_NUM_THREADS; --gpu may name a type (a100:1); other options of sbatch: DS2_SBATCH=\"--account=… …\";
  --nodes starts COMMAND once on each of N nodes (utils/torchrun.sh), with --mem, --gpu and --num-threads on each of them;
  DS2_LOG_WAIT: seconds to wait for the last lines of logs on a network file system (30)"
here=$(cd "$(dirname "$0")" && pwd)
. "$here/options.sh"
command -v sbatch >/dev/null ||
  { echo "utils/slurm.sh: no sbatch on the PATH (run this on a login node of the cluster, or use utils/run.sh)" >&2; exit 2; }
. "$here/parse_jobs.sh"
[[ -z $num_threads ]] || export OMP_NUM_THREADS=$num_threads

log_wait=${DS2_LOG_WAIT:-30}
[[ $log_wait =~ ^[0-9]{1,6}$ ]] || { echo "utils/slurm.sh: DS2_LOG_WAIT: expected whole seconds, got '$log_wait'" >&2; exit 2; }

name=${log##*/}; name=${name%.log}; name=${name//.JOB/}; name=${name//[^[:alnum:]._-]/_}.${HOSTNAME%%.*}.$$
own_jobs=(--user="$(id -un)" --name="$name")
output=${log//\%/%%}
read -ra options <<<"${DS2_SBATCH-}"
options+=(--parsable --job-name="$name" --array="${range//:/-}" --output="${output//JOB/%a}" --open-mode=truncate --export=ALL)
[[ $max_jobs -eq 0 ]] || options+=(--array="${range//:/-}%$max_jobs")
[[ -z $mem ]] || options+=(--mem="$mem")
[[ -z $gpu ]] || options+=(--gres=gpu:"$gpu")
[[ -z $time ]] || options+=(--time="$time")
[[ -z $partition ]] || options+=(--partition="$partition")
[[ -z $num_threads ]] || options+=(--cpus-per-task="$num_threads")
launcher=
if [[ -n $nodes ]]; then
  [[ $nodes =~ ^[1-9][0-9]*$ ]] || { echo "utils/slurm.sh: --nodes: expected a number, got '$nodes'" >&2; exit 2; }
  options+=(--nodes="$nodes" --ntasks-per-node=1)
  # since Slurm 22.05, steps do not inherit the cores of a task; a node that fails ends the others
  launcher="srun --ntasks=$nodes --ntasks-per-node=1 ${num_threads:+--cpus-per-task=$num_threads} --kill-on-bad-exit=1"
fi

id=; sleeper=
cancel() {
  # a second signal (`timeout` sends two), or a `tee` that Ctrl-C has ended, must not end this before scancel is done
  trap '' INT TERM HUP PIPE
  [[ -z $sleeper ]] || kill "$sleeper" 2>/dev/null || true
  echo "utils/slurm.sh: cancelling job ${id:-$name}" >&2 || true
  # by name, which also finds an array that was submitted just before the signal
  timeout --signal=KILL 60 scancel --quiet "${own_jobs[@]}" || true
  trap 'exit 130' INT TERM HUP
  while [[ -n $(squeue --noheader "${own_jobs[@]}") ]]; do sleep 1; done
  exit 130
}
trap cancel INT TERM HUP
# the command is quoted for the shell of the task, which replaces JOB by its own number
id=$(sbatch "${options[@]}" <<<"#!/usr/bin/env bash
command=(${*@Q})
exec ${here@Q}/job.sh $launcher \"\${command[@]//JOB/\$SLURM_ARRAY_TASK_ID}\"") ||
  { echo "utils/slurm.sh: sbatch refused the array (see its message; --mem, --gpu, --num-threads, --time, --partition, DS2_SBATCH)" >&2; exit 1; }
echo "utils/slurm.sh: job $id, JOB=$range" >&2

# not `sbatch --wait`: it polls every 30 s only, and does not report an array that can never start
pause=1 reported=
while true; do
  sleep "$pause" & sleeper=$!; wait "$sleeper"
  pause=$((pause < 15 ? pause + 1 : 15))
  tasks=$(squeue --noheader "${own_jobs[@]}" --format='%t %r' 2>/dev/null) || tasks="PD the Slurm controller does not answer"
  [[ -n $tasks ]] || break
  reason=${tasks%%$'\n'*}; reason=${reason#PD }
  if [[ ! $tasks =~ (^|$'\n')[^P] && $reason != None && $reason != "$reported" ]]; then
    reported=$reason
    [[ $reason != PartitionConfig && $reason != BadConstraints ]] || reason+=" (no node is large enough? Ctrl-C, then request less or another --partition)"
    echo "utils/slurm.sh: job $id is waiting: $reason" >&2
  fi
done
trap - INT TERM HUP

# on a network file system the last lines of a log may appear late
failed=0 deadline=$((SECONDS + 10#$log_wait))
for number in "${job_numbers[@]}"; do
  file=${log//JOB/$number}
  while true; do
    status=$(sed -n 's/.*# ended .*, status \([0-9]*\)$/\1/p' "$file" 2>/dev/null | tail -n 1)
    [[ -z $status && $SECONDS -lt $deadline ]] || break
    sleep 1
  done
  [[ $status != 0 ]] || continue
  failed=1
  echo "utils/slurm.sh: task $number of job $id failed with status ${status:-unknown (killed: time, memory or node?)}; the end of $file:" >&2
  tail -n 5 "$file" >&2 || true
done
exit "$failed"

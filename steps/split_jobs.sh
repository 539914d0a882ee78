#!/usr/bin/env bash
# Run a row filter as parallel jobs: steps/split_jobs.sh [--nj 4] [--run utils/run.sh] IN OUT LOGDIR ds2 featurize {in} {out} …
# IN is split in --nj parts, the command runs once a part with {in} {out} and JOB replaced, the parts are joined to OUT.
set -euo pipefail
nj=4; run=
help="usage: $0 [--nj 4] [--run utils/run.sh] IN OUT LOGDIR COMMAND with {in} {out} and JOB in it"
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/utils/options.sh"
[[ $# -ge 4 ]] || { echo "$help" >&2; exit 2; }
in=$1; out=$2; dir=$3; shift 3
run=${run:-$here/utils/run.sh}
ds2 data split "$in" "$dir/in.JOB.jsonl" --parts "$nj"
args=("${@//\{in\}/$dir/in.JOB.jsonl}")
args=("${args[@]//\{out\}/$dir/out.JOB.jsonl}")
"$run" JOB=1:"$nj" "$dir/job.JOB.log" "${args[@]}"
parts=()
for ((job = 1; job <= nj; job++)); do parts+=("$dir/out.$job.jsonl"); done
ds2 data combine "${parts[@]}" "$out"

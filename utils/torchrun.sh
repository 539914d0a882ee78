#!/usr/bin/env bash
# Train with several processes, on one machine or on all nodes of a Slurm job: utils/torchrun.sh [--nproc 8] [--max-restarts 3] ds2 train …
# Without Slurm, or on one node, the processes of this machine. On several nodes (utils/slurm.sh --nodes 4 LOG utils/torchrun.sh …) each node runs this script,
# and the processes meet at the first node. They share the threads of the job, OMP_NUM_THREADS. All nodes need the same files.
set -euo pipefail
nproc=; max_restarts=3; port=
help="usage: $0 [--nproc N] [--max-restarts 3] [--port P] ds2 train …
  --nproc: processes per machine (the number of GPUs, else 1); --port: where they meet [20000 to 39999, by the number of the Slurm job]"
here=$(cd "$(dirname "$0")" && pwd)
. "$here/options.sh"
root=$here/..; . "$here/path.sh"
[[ $# -ge 2 && $1 == ds2 && $2 == train ]] || { echo "$0: expected 'ds2 train …', got '$*'
$help" >&2; exit 2; }
shift
[[ -n $nproc ]] || nproc=$(python3 -c 'import torch; print(torch.cuda.device_count() or 1)')
[[ $nproc =~ ^[1-9][0-9]*$ && $max_restarts =~ ^[0-9]+$ ]] || { echo "$help" >&2; exit 2; }
if [[ -n ${OMP_NUM_THREADS-} ]]; then
  threads=$((${OMP_NUM_THREADS%%,*} / nproc)); export OMP_NUM_THREADS=$((threads > 1 ? threads : 1))
fi
nodes=${SLURM_JOB_NUM_NODES:-1}
if [[ $nodes -eq 1 ]]; then
  meet=(--standalone)
else
  read -r head < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
  meet=(--rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$head:${port:-$((20000 + SLURM_JOB_ID % 20000))}")
fi
exec torchrun --nnodes "$nodes" --nproc-per-node "$nproc" --max-restarts "$max_restarts" "${meet[@]}" -m ds2cli "$@"

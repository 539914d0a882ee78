#!/usr/bin/env bash
# Run a command with a one-node Slurm that ends with it: tests/shell/slurm_node.sh COMMAND…   (COMMAND may be `bash`, to try things out)
# Needs root and Debian's slurm-wlm and munge. Uses a temporary folder and its own ports; the services of the system stay untouched.
set -euo pipefail
[[ $# -gt 0 ]] || { echo "usage: $0 COMMAND…" >&2; exit 2; }
export PATH=$PATH:/usr/sbin
for program in munged slurmctld slurmd sbatch; do
  command -v $program >/dev/null || { echo "$0: no $program (apt-get install -y slurm-wlm munge)" >&2; exit 2; }
done
[[ $(id -u) -eq 0 ]] || { echo "$0: starting the daemons of Slurm needs root" >&2; exit 2; }
dir=$(mktemp -d) port=$((20000 + $$ % 20000)) node=$(hostname); node=${node%%.*}
# as much as there is: recipes ask for gigabytes
memory=$(awk '/MemTotal/ { print int($2 / 1024 * 0.9) }' /proc/meminfo)
chmod 755 "$dir"; mkdir "$dir"/{state,spool}
daemons=()
stop() {
  trap - EXIT INT TERM HUP
  scancel --quiet --user=root 2>/dev/null && for _ in {1..50}; do [[ -n $(squeue -h 2>/dev/null) ]] || break; sleep 0.1; done
  for ((i = ${#daemons[@]} - 1; i >= 0; i--)); do kill "${daemons[i]}" 2>/dev/null || true; wait "${daemons[i]}" 2>/dev/null || true; done
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP
export SLURM_CONF=$dir/slurm.conf
[[ ! $(slurmd -V) =~ ([0-9]+)\. || ${BASH_REMATCH[1]} -lt 24 ]] || echo "CgroupPlugin=disabled" >"$dir/cgroup.conf"
echo "Name=gpu File=/dev/null" >"$dir/gres.conf"
cat >"$SLURM_CONF" <<CONF
ClusterName=one
SlurmctldHost=$node(127.0.0.1)
SlurmUser=root
SlurmctldPort=$port
SlurmdPort=$((port + 1))
AuthType=auth/munge
AuthInfo=socket=$dir/munge.sock
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,batch_sched_delay=0
KillWait=5
GresTypes=gpu
NodeName=$node NodeAddr=127.0.0.1 CPUs=2 RealMemory=$memory Gres=gpu:1
PartitionName=test Nodes=$node Default=YES DefMemPerCPU=100 State=UP
CONF
head -c 1024 /dev/urandom >"$dir/munge.key"; chmod 400 "$dir/munge.key"
start() { "$@" >"$dir/${1##*/}.log" 2>&1 </dev/null & daemons+=($!); }
start munged --foreground --force --key-file="$dir/munge.key" --socket="$dir/munge.sock" --pid-file="$dir/munged.pid" \
  --log-file="$dir/munged.log" --seed-file="$dir/munged.seed"
for _ in {1..50}; do [[ -S $dir/munge.sock ]] && break; sleep 0.1; done
start slurmctld -D
start slurmd -D -N "$node"
for _ in {1..200}; do [[ $(sinfo -h -o %T 2>/dev/null) == idle ]] && break; sleep 0.1; done
[[ $(sinfo -h -o %T 2>/dev/null) == idle ]] || { echo "$0: the node did not come up:" >&2; tail -n 3 "$dir/slurmctld.log" "$dir/slurmd.log" >&2; exit 1; }
"$@"

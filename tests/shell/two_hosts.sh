#!/usr/bin/env bash
# Train on two hosts that share nothing but a network: two network namespaces, torchrun in each.
# OUT/a/uninterrupted: not interrupted. OUT/a/killed: all processes of the second host are killed and started again.
set -euo pipefail
help="usage: tests/shell/two_hosts.sh DATA OUT [PYTHON]
DATA has train.jsonl, dev.jsonl and conf.toml. Exit status 77: the test cannot run here."
[ $# -ge 2 ] || { echo "$help" >&2; exit 2; }
data=$1 out=$2 python=${3:-python3} a=ds2-a-$$ b=ds2-b-$$
skip() { echo "two_hosts: $*" >&2; exit 77; }
[ "$(id -u)" = 0 ] || skip "network namespaces need root"
command -v ip >/dev/null || skip "no ip command (install iproute2)"
ip netns add "$a" 2>/dev/null || skip "network namespaces are not available"

remove_hosts() {
    for host in "$a" "$b"; do
        ip netns pids "$host" 2>/dev/null | xargs -r kill -9 || true
        ip netns del "$host" 2>/dev/null || true
    done
}
trap remove_hosts EXIT
ip netns add "$b"
ip link add eth0 netns "$a" type veth peer name eth0 netns "$b"
for host in "$a" "$b"; do
    ip -n "$host" link set lo up
    ip -n "$host" link set eth0 up
done
ip -n "$a" addr add 10.77.0.1/24 dev eth0
ip -n "$b" addr add 10.77.0.2/24 dev eth0

# node HOST ADDRESS EXP OPTIONS: the command that a user runs on each host; the first host serves the rendezvous
node() {
    local host=$1 address=$2 exp=$3
    shift 3
    local serves=$([ "$host" = "$a" ] && echo true || echo false)
    ip netns exec "$host" env GLOO_SOCKET_IFNAME=eth0 TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 OMP_NUM_THREADS=1 \
        "$python" -m torch.distributed.run \
        --nnodes 2 --nproc-per-node 1 --max-restarts 3 --rdzv-backend c10d --rdzv-endpoint 10.77.0.1:29400 \
        --rdzv-id "$(basename "$exp")" --rdzv-conf "is_host=$serves" --local-addr "$address" \
        -m ds2cli train "$data/train.jsonl" "$exp" --dev "$data/dev.jsonl" --config "$data/conf.toml" --epochs 3 "$@"
}

node "$a" 10.77.0.1 "$out/a/uninterrupted" 2>"$out/a.log" &
node "$b" 10.77.0.2 "$out/b/uninterrupted" 2>"$out/b.log" &
wait -n && wait || { cat "$out"/[ab].log; exit 1; }

node "$a" 10.77.0.1 "$out/a/killed" --readers 1 --save-minutes 0.0005 2>"$out/a.log" &
first=$!
node "$b" 10.77.0.2 "$out/b/killed" --readers 1 2>"$out/b.log" &
until [ -e "$out/a/killed/last.pt" ]; do
    kill -0 $first || { cat "$out"/[ab].log; exit 1; }
    sleep 0.05
done
ip netns pids "$b" | xargs kill -9
wait $! || true
node "$b" 10.77.0.2 "$out/b/killed" 2>"$out/b.log" &
wait $first && wait || { cat "$out"/[ab].log; exit 1; }
[ "$(grep -c 'the longest batch' "$out/a.log")" -ge 2 ] || { echo "two_hosts: the hosts had finished before the kill"; cat "$out/a.log"; exit 1; }

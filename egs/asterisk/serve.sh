#!/usr/bin/env bash
# Measure the server under load: all figures and both plots of RESULTS.md, in about eight minutes. The clients run on the same machine,
# which should have nothing else to do: see the load average next to each figure.
set -euo pipefail
cd "$(dirname "$0")"; root=../..
nj=; exp=exp/en-streaming; rows=data/en/dev.jsonl; streams=10,20,30,60,100; seconds=25; out=
help="usage: egs/asterisk/serve.sh [--nj CORES/2] [--exp exp/en-streaming] [--rows data/en/dev.jsonl] [--streams 10,20,30,60,100] [--seconds 25] [--out EXP/serve]
exp: a forward-only network with lm.arpa and decode.toml, as run.sh --conf conf/streaming.toml --features conf/featurize.streaming.toml writes it"
. $root/utils/options.sh
. $root/utils/path.sh
. $root/utils/cores.sh; nj=${nj:-$((cores > 1 ? cores / 2 : 1))}; limit_to_cores nj threads used  # the default of ds2 serve
out=${out:-$exp/serve}
for file in best.safetensors lm.arpa decode.toml; do
  [[ -s $exp/$file ]] || { echo "$exp/$file is missing: train it with ./run.sh --conf conf/streaming.toml --features conf/featurize.streaming.toml" >&2; exit 2; }
done
mkdir -p "$out"
{ echo "lm = \"$exp/lm.arpa\""; echo "nj = $nj"; cat "$exp/decode.toml"; } >"$out/server.toml"
export OMP_NUM_THREADS=1
bench() {  # NAME OPTION…: the table also goes to OUT/NAME.txt
  local name=$1; shift
  ds2 bench serve "$@" | tee "$out/$name.txt"
}
echo "## Latency: batches of 1 and of up to 32"
bench latency "$exp" "$rows" --server-config "$out/server.toml" --streams "$streams" --seconds "$seconds" --plot "$out/load.png"
echo "## Throughput: 20 streams that send as fast as the server reads"
bench throughput "$exp" "$rows" --server-config "$out/server.toml" --streams 20 --seconds 15 --fast
ds2 serve "$exp" --config "$out/server.toml" --port 0 --max-requests 0 --max-uploads 2 2>"$out/server.log" & server=$!
trap 'kill $server 2>/dev/null || true; wait $server || true' EXIT
until url=$(grep -o 'http://[^ ,]*' "$out/server.log"); do
  kill -0 $server || { cat "$out/server.log" >&2; exit 1; }
  sleep 0.2
done
limit=$(sed -n 's/.*http.*up to \([0-9]*\) streams.*/\1/p' "$out/server.log")
echo "## Overload: as many streams as the server accepts, $limit (40 % of what it measured), and twice that"
cat "$out/server.log"
bench overload "$url" "$rows" --streams "$limit,$((2 * limit))" --seconds "$seconds"
echo "## Uploads: 1 and 4 at once"
bench uploads-1 "$url" "$rows" --requests 1 --seconds 10
bench uploads-4 "$url" "$rows" --requests 4 --seconds 10

# Source this file after setting $root: $cores is the number of cores that ds2 counts (DS2_CORES=N overrides it), and
# `limit_to_cores NAME WHAT USE [CORES]` lowers the number in $NAME to one per core, or per CORES cores, with a line on standard error.
cores=$(PYTHONPATH=$(cd "$root" && pwd)${PYTHONPATH:+:$PYTHONPATH} python3 -m ds2cli.cores) || exit 2
limit_to_cores() {
  local limit=$((cores / ${4:-1})); [[ $limit -ge 1 ]] || limit=1
  [[ ${!1} -gt $limit ]] || return 0
  echo "$0: ${!1} $2: $limit $3, as $cores $([[ $cores -eq 1 ]] && echo core is || echo cores are) available" >&2
  printf -v "$1" %s "$limit"
}

# Source this file in a recipe, after cmd.sh and after $help, $root and a variable per option are set: parses the options and defines what recipes share.
# Every recipe has the options --stage, --stop-stage, --nj, --resume, --dry-run and --cmd (described in egs/README.md, "Recipes").
#   begin_stage 3 "train the network"          prints the title; succeeds if this stage is to run
#   job KIND NAME COMMAND…                     runs a command here; with --cmd, as a job with the resources that cmd.sh gives to KIND, logged to $exp/log/NAME.log
#   job_to FILE KIND NAME COMMAND…             the same; its standard output goes to FILE, and is printed
#   split_job KIND NAME IN OUT COMMAND…        runs a filter of rows, with {in} and {out} in it; with --cmd, as $nj jobs on parts of IN
# ${if_stale[@]} is --if-stale with --resume true; ${parallel[@]} is --nj with the number of processes of a command.
# With --dry-run true, nothing runs: each command is printed with its resources.
caller=${caller:-$PWD}
stage=${stage:-0}; stop_stage=${stop_stage:-99}; nj=${nj-}; resume=${resume:-false}; dry_run=${dry_run:-false}; cmd=${cmd-}
. "$root/utils/options.sh"
[[ $# -eq 0 ]] || { echo "$0: unexpected argument $1 (--help lists the options)" >&2; exit 2; }
. "$root/utils/path.sh"
. "$root/utils/cores.sh"; nj=${nj:-$cores}
if_stale=(); [[ $resume == false ]] || if_stale=(--if-stale)
parallel=(--nj "$nj"); [[ -z $cmd ]] || parallel=()
# relative to the folder of the caller or of the checkout, not of the recipe
read -ra _runner <<<"$cmd"
if [[ -n $cmd && ${_runner[0]} == */* && ${_runner[0]} != /* ]]; then
  if [[ -x $caller/${_runner[0]} ]]; then _runner[0]=$caller/${_runner[0]}; else _runner[0]=$root/${_runner[0]}; fi
fi
[[ -z $cmd ]] || command -v "${_runner[0]}" >/dev/null || { echo "$0: --cmd: ${_runner[0]} is no program (utils/run.sh or utils/slurm.sh, with options)" >&2; exit 2; }

begin_stage() { [[ $stage -le $1 && $stop_stage -ge $1 ]] && echo "== stage $1: $2" >&2; }

_resources() {  # KIND → _options
  local name=${1}_job
  read -ra _options <<<"${!name-}"
}

_print() {  # KIND COMMAND…
  local kind=$1; shift
  _resources "$kind"
  printf '%s' "${cmd:+${_runner[*]} ${_options[*]:+${_options[*]} }}"
  printf '%q ' "$@" | sed 's/ $//'
  echo
}

job() {  # KIND NAME COMMAND…
  local kind=$1 name=$2; shift 2
  if [[ $dry_run == true ]]; then _print "$kind" "$@"; return; fi
  if [[ -z $cmd ]]; then "$@"; return; fi
  _resources "$kind"
  "${_runner[@]}" "${_options[@]}" "$exp/log/$name.log" "$@"
}

job_to() {  # FILE KIND NAME COMMAND…
  local file=$1 kind=$2 name=$3; shift 3
  if [[ $dry_run == true ]]; then printf '%s > %q\n' "$(_print "$kind" "$@")" "$file"; return; fi
  mkdir -p "$(dirname "$file")"
  job "$kind" "$name" bash -c 'set -o pipefail; "${@:2}" >"$1.part" && mv "$1.part" "$1"' job_to "$file" "$@"
  cat "$file"
}

split_job() {  # KIND NAME IN OUT COMMAND…
  local kind=$1 name=$2 in=$3 out=$4; shift 4
  local once=("${@//\{in\}/$in}"); once=("${once[@]//\{out\}/$out}")
  if [[ $dry_run == true ]]; then _print "$kind" "${once[@]}"; return; fi
  if [[ -z $cmd ]]; then "${once[@]}"; return; fi
  _resources "$kind"
  local again=(); [[ $resume == false ]] || again=(--resume)
  "$root/steps/split_jobs.sh" --nj "$nj" --run "${_runner[*]} ${_options[*]}" "${again[@]}" "$in" "$out" "$exp/log" "$@"
}

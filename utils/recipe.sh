# Source this file in a recipe, after cmd.sh and after $help, $root and a variable per option are set: parses the options and defines what recipes share.
# Every recipe has the options --stage, --stop-stage, --nj, --resume, --dry-run and --cmd (described in egs/README.md, "Recipes").
#   begin_stage 3 "train the network"          prints the title; succeeds if this stage is to run
#   job KIND NAME COMMAND…                     runs a command here; with --cmd, as a job with the resources that cmd.sh gives to KIND, logged to $exp/log/NAME.log
#   job_to FILE KIND NAME COMMAND…             the same; its standard output goes to FILE, and is printed
#   split_job KIND NAME IN OUT COMMAND…        runs a filter of rows, with {in} and {out} in it; with --cmd, as $nj jobs on parts of IN
#   refuse TEXT                                ends the recipe: an option is wrong
#   from_caller PATH                           prints a path that was given as an option, relative to the folder of the caller, as an absolute one; "" for ""
#   say TEXT                                   prints a title of results on standard output; with --dry-run true, as a comment
#   estimate OPTION…                           with --dry-run true, prints what `ds2 plan OPTION…` estimates, as comments
#   mini_jobs                                  asks for as little as small corpora need: a node of 2 cores and 1 GB without a GPU is enough
# KIND_job in cmd.sh has the options of utils/run.sh and utils/slurm.sh for a kind of job, and KIND_nj the number of parts of its split jobs unless --nj is given.
# ${if_stale[@]} is --if-stale with --resume true. ${parallel[@]} is --nj with the threads that a command may use: $nj here, the --num-threads of KIND in a job.
# With --dry-run true, nothing runs: each command is printed as one could paste it, with its resources.
# bash 5.2 would replace & in a path by the matched text
shopt -u patsub_replacement 2>/dev/null || true
caller=${caller:-$PWD}
stage=${stage:-0}; stop_stage=${stop_stage:-99}; nj=${nj-}; resume=${resume:-false}; dry_run=${dry_run:-false}; cmd=${cmd-}
. "$root/utils/options.sh"
refuse() { echo "$0: $1" >&2; exit 2; }
from_caller() { [[ -z $1 || $1 == /* ]] && echo "$1" || echo "$caller/$1"; }
[[ $# -eq 0 ]] || refuse "unexpected argument $1 (--help lists the options)"
for _name in stage stop_stage; do
  [[ ${!_name} =~ ^[0-9]+$ ]] || refuse "--${_name//_/-}: expected the number of a stage, got '${!_name}' (--help lists them)"
done
for _name in resume dry_run; do
  [[ ${!_name} =~ ^(true|false)$ ]] || refuse "--${_name//_/-}: expected true or false, got '${!_name}'"
done
[[ -z $nj || $nj =~ ^[1-9][0-9]*$ ]] || refuse "--nj: expected a number of jobs, got '$nj'"
. "$root/utils/path.sh"
. "$root/utils/cores.sh"; _given_nj=$nj; nj=${nj:-$cores}
if_stale=(); [[ $resume == false ]] || if_stale=(--if-stale)
parallel=(--nj '{threads}')
# relative to the folder of the caller or of the checkout, not of the recipe
read -ra _runner <<<"$cmd"
if [[ -n $cmd && ${_runner[0]} == */* && ${_runner[0]} != /* ]]; then
  if [[ -x $caller/${_runner[0]} ]]; then _runner[0]=$caller/${_runner[0]}; else _runner[0]=$root/${_runner[0]}; fi
fi
[[ -z $cmd ]] || command -v "${_runner[0]}" >/dev/null || refuse "--cmd: ${_runner[0]} is no program (utils/run.sh or utils/slurm.sh, with options)"
[[ $dry_run == false ]] || printf 'cd %q\n' "$PWD"

mini_jobs() {
  local kind
  for kind in prepare featurize lm emit tune decode score; do printf -v ${kind}_job '%s' "--mem 450M --num-threads 1 --time 1:00:00"; done
  train_job="--mem 900M --num-threads 2 --time 1:00:00"
  featurize_nj=2; decode_nj=2
}

_stage=
begin_stage() {
  [[ $stage -le $1 && $stop_stage -ge $1 ]] || return 1
  _stage=$1
  if [[ $dry_run == true ]]; then echo "# stage $1: $2"; else echo "== stage $1: $2" >&2; fi
}

# Each command is a process group of its own, so that it gets one signal, from here, whoever was signalled: a second one ends a training between two checkpoints.
_child=
_stop() {  # STATUS SIGNAL
  trap '' INT TERM HUP
  if [[ -n $_child ]]; then
    kill -s "$2" -- "-$_child" 2>/dev/null || true
    wait "$_child" 2>/dev/null || true
  fi
  echo "$0: interrupted${_stage:+ in stage $_stage; --stage $_stage --resume true continues}" >&2 || true
  exit "$1"
}
trap '_stop 130 INT' INT; trap '_stop 143 TERM' TERM; trap '_stop 129 HUP' HUP

_run() {  # NAME LOG COMMAND…; LOG may be empty
  local name=$1 log=$2 status=0; shift 2
  set -m
  "$@" </dev/null &
  _child=$!
  set +m
  wait "$_child" || status=$?
  _child=
  [[ $status -ne 0 ]] || return 0
  echo "$0: ${_stage:+stage $_stage: }$name failed with status $status${log:+ (log: $log)}${_stage:+; --stage $_stage --resume true continues from there}" >&2
  exit "$status"
}

_prepare() {  # KIND COMMAND…  →  _options (resources of the kind), _threads, _words (the command)
  local name=${1}_job i; shift
  read -ra _options <<<"${!name-}"
  _threads=$nj
  if [[ -n $cmd ]]; then
    _threads=1
    for ((i = 0; i < ${#_options[@]}; i++)); do
      [[ ${_options[i]} != --num-threads ]] || _threads=${_options[i + 1]}
      [[ ${_options[i]} != --num-threads=* ]] || _threads=${_options[i]#*=}
    done
  fi
  _words=("${@//\{threads\}/$_threads}")
}

_quote() {  # WORD…: as one could paste it
  local word text=
  for word in "$@"; do
    # %q is right for every word, and hard to read for those with spaces
    if [[ $word =~ ^[[:alnum:]_./:,=@%+-]+$ ]]; then text+=" $word"; else text+=" '${word//\'/\'\\\'\'}'"; fi
  done
  printf '%s' "${text# }"
}

_print() {  # REDIRECTION WORD…, with the resources as a comment if the words do not have them
  local redirection=$1; shift
  printf '%s%s' "$(_quote "$@")" "$redirection"
  if [[ -z $cmd && ${#_options[@]} -gt 0 ]]; then printf '   # in a job: %s' "${_options[*]}"; fi
  echo
}

_is_fresh() {  # WORD…: whether the output of a command is fresh and was made by this very command
  [[ $resume == true && -n $cmd ]] && python3 "$root/utils/is_fresh.py" "$@"
}

job() {  # KIND NAME COMMAND…
  local kind=$1 name=$2; shift 2
  _prepare "$kind" "$@"
  local whole=("${_words[@]}") log=
  if [[ -n $cmd ]]; then
    log=$exp/log/$name.log
    whole=("${_runner[@]}" "${_options[@]}" "$log" "${_words[@]}")
  fi
  if [[ $dry_run == true ]]; then _print "" "${whole[@]}"; return; fi
  if _is_fresh "${_words[@]}"; then echo "$name: fresh" >&2; return; fi
  _run "$name" "$log" "${whole[@]}"
}

job_to() {  # FILE KIND NAME COMMAND…
  local file=$1 kind=$2 name=$3; shift 3
  if [[ -n $cmd ]]; then
    # another output of the command may be fresh while FILE is missing
    [[ -e $file ]] || local resume=false
    [[ $dry_run == true ]] || rm -f "$file.part"
    # standard output of a job is its log; the command takes the place of the shell, which would end before it on a signal
    # shellcheck disable=SC2016
    job "$kind" "$name" bash -c 'exec "${@:2}" >"$1"' job_to "$file.part" "$@"
    if [[ $dry_run == true ]]; then _options=(); _print "" mv "$file.part" "$file"; return; fi
  else
    _prepare "$kind" "$@"
    if [[ $dry_run == true ]]; then _print " > $(_quote "$file")" "${_words[@]}"; return; fi
    mkdir -p "$(dirname "$file")"
    _run "$name" "" "${_words[@]}" >"$file.part"
  fi
  [[ ! -e $file.part ]] || mv "$file.part" "$file"
  cat "$file"
}

split_job() {  # KIND NAME IN OUT COMMAND…
  local kind=$1 name=$2 in=$3 out=$4 parts word; shift 4
  if [[ -z $cmd ]]; then
    local once=("${@//\{in\}/$in}")
    job "$kind" "$name" "${once[@]//\{out\}/$out}"
    return
  fi
  parts=${kind}_nj; parts=${_given_nj:-${!parts:-$nj}}
  # parts are of this run only: whether OUT is fresh is known here
  local command=() again=()
  for word in "$@"; do [[ $word == --if-stale ]] || command+=("$word"); done
  _prepare "$kind" "${command[@]}"
  [[ $resume == false ]] || again=(--resume --restart)
  local whole=("$root/steps/split_jobs.sh" --nj "$parts" --run "${_runner[*]}${_options[*]:+ ${_options[*]}}" "${again[@]}" "$in" "$out" "$exp/log" "${_words[@]}")
  if [[ $dry_run == true ]]; then _print "" "${whole[@]}"; return; fi
  local once=("${_words[@]//\{in\}/$in}")
  if _is_fresh "${once[@]//\{out\}/$out}"; then echo "$name: fresh" >&2; return; fi
  _run "$name" "$exp/log/$(basename "${out%.gz}" .jsonl).JOB.log" "${whole[@]}"
}

say() { if [[ $dry_run == true ]]; then echo "# $1"; else echo "$1"; fi; }

estimate() {  # OPTION… of ds2 plan
  [[ $dry_run == true ]] || return 0
  local found
  if found=$(ds2 plan "$@" 2>&1); then printf '%s\n' "$found" | sed 's/^/#   /'; else echo "#   no estimate: $(tail -n 1 <<<"$found")"; fi
}

# Source in run.sh and slurm.sh after options.sh: `[JOB=1:4,7] LOG COMMAND…` becomes $range, ${numbers[@]}, $log and "$@"; old logs go.
range=1:1; if [[ ${1-} == JOB=* ]]; then range=${1#JOB=}; shift; fi
[[ $# -ge 2 && $range =~ ^[0-9]+(:[0-9]+)?(,[0-9]+(:[0-9]+)?)*$ ]] || { echo "$help" >&2; exit 2; }
log=$1; shift
numbers=()
for _span in ${range//,/ }; do
  for ((_number = 10#${_span%:*}; _number <= 10#${_span#*:}; _number++)); do numbers+=("$_number"); done
done
[[ ${#numbers[@]} -gt 0 ]] || { echo "$0: JOB=$range is no job at all" >&2; exit 2; }
for _number in "${numbers[@]}"; do
  _file=${log//JOB/$_number}
  [[ $_file != */* ]] || mkdir -p "${_file%/*}"
  rm -f "$_file"
done

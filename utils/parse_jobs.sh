# Source this file after options.sh: parses `[JOB=1:4,7] LOG COMMAND…` into $range, ${job_numbers[@]}, $log and "$@", and removes old logs.
range=1:1; if [[ ${1-} == JOB=* ]]; then range=${1#JOB=}; shift; fi
[[ $# -ge 2 && $range =~ ^[0-9]+(:[0-9]+)?(,[0-9]+(:[0-9]+)?)*$ ]] || { echo "$help" >&2; exit 2; }
log=$1; shift
job_numbers=()
for _span in ${range//,/ }; do
  for ((_number = 10#${_span%:*}; _number <= 10#${_span#*:}; _number++)); do job_numbers+=("$_number"); done
done
[[ ${#job_numbers[@]} -gt 0 ]] || { echo "$0: JOB=$range contains no jobs" >&2; exit 2; }
for _number in "${job_numbers[@]}"; do
  _file=${log//JOB/$_number}
  [[ $_file != */* ]] || mkdir -p "${_file%/*}"
  rm -f "$_file"
done

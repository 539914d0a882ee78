# Source this file after setting $help and a variable per option: `--some-name value` or `--some-name=value` sets $some_name.
# A boolean option (its variable is true or false) needs no value. Unknown options and missing values exit with 2.
while [[ $# -gt 0 && $1 == --* ]]; do
  if [[ $1 == --help ]]; then printf '%s\n' "$help"; exit 0; fi
  if [[ $1 == -- ]]; then shift; break; fi
  _name=${1%%=*}; _name=${_name#--}; _name=${_name//-/_}
  if [[ ! $_name =~ ^[a-z_]+$ || -z ${!_name+x} ]]; then echo "$0: unknown option $1 (--help lists them)" >&2; exit 2; fi
  if [[ $1 == *=* ]]; then printf -v "$_name" '%s' "${1#*=}"; shift; continue; fi
  if [[ ${!_name} =~ ^(true|false)$ && ! ${2-} =~ ^(true|false)$ ]]; then printf -v "$_name" true; shift; continue; fi
  if [[ $# -lt 2 ]]; then echo "$0: option $1 needs a value" >&2; exit 2; fi
  printf -v "$_name" '%s' "$2"
  shift 2
done

#!/usr/bin/env bash
# Run one job of utils/run.sh or utils/slurm.sh: utils/job.sh COMMAND…   (prints the command, its output, and its status)
# A signal to the job reaches all its processes: the command stops, and this script still writes the status.
trap : INT TERM
printf '#'; printf ' %q' "$@"
printf '\n# started %s on %s\n' "$(date -Is)" "$HOSTNAME"
"$@"
status=$?
printf '# ended %s, %s s, status %s\n' "$(date -Is)" "$SECONDS" "$status"
exit "$status"

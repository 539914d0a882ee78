#!/usr/bin/env bash
# One job of utils/run.sh or utils/slurm.sh: utils/job.sh COMMAND…   (its output between how it began and how it ended)
# Who ends a job signals all its processes: the command stops, and its status is written all the same.
trap : INT TERM
printf '#'; printf ' %q' "$@"
printf '\n# started %s on %s\n' "$(date -Is)" "$HOSTNAME"
"$@"
status=$?
printf '# ended %s, %s s, status %s\n' "$(date -Is)" "$SECONDS" "$status"
exit "$status"

#!/usr/bin/env bash
# How exact word times are: clips of run.sh joined with pauses of 0.3 s, so that the joins are known, and the same recordings with texts of
# which a tenth was removed, changed or added; run.sh --stop-stage 5 trains the network.
set -euo pipefail
caller=$PWD; cd "$(dirname "$0")"; root=../..
stop_stage=2; lang=en; seeds=6; gap_costs=20; skip_costs=3; lengths=3,20; exp=; data=
help="usage: egs/asterisk/junctions.sh [--stage 0] [--stop-stage 2] [--nj CORES] [--lang en|es|fr|it|ru] [--seeds 6] [--gap-costs 20,30]
                                  [--skip-costs 3,6] [--lengths 3,20] [--exp exp/LANG] [--data data/LANG]
                                  [--cmd \"utils/slurm.sh --partition NAME\"] [--dry-run true]
stages: 0 estimate the systematic error of word times on dev  1 measure it on test  2 altered texts"
. ./cmd.sh
. $root/utils/recipe.sh
exp=${exp:-exp/$lang}; data=${data:-data/$lang}

if begin_stage 0 "the systematic error of word times, on dev"; then
  job_to "$exp/dev.timing" decode timing.dev ds2 align --tune "$exp" "$data/dev.jsonl" "${parallel[@]}"
fi
if begin_stage 1 "the errors of word times on test, before and after the correction"; then
  job_to "$exp/test.timing" decode timing.test ds2 align --measure "$exp" "$data/test.jsonl" "${parallel[@]}"
fi
if begin_stage 2 "texts with a tenth removed, changed or added"; then
  job_to "$exp/altered.md" decode altered python3 local/altered.py "$exp" "$data/dev.jsonl" "$data/test.jsonl" --pool "$data/train.jsonl" --seeds "$seeds" \
    --lengths "$lengths" --gap-costs "$gap_costs" --skip-costs "$skip_costs"
fi

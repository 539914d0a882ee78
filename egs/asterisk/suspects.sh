#!/usr/bin/env bash
# How well ds2 data suspects finds wrong texts: those of a share of the training utterances are exchanged, a network is trained, and the
# ranking is compared with what was exchanged; run.sh --stop-stage 1 prepares the recordings.
set -euo pipefail
cd "$(dirname "$0")"; root=../..
stage=0; stop_stage=2; nj=; lang=en; share=0.05; seeds=1; conf=conf/train.toml; exp=; data=
help="usage: egs/asterisk/suspects.sh [--stage 0] [--stop-stage 2] [--nj CORES] [--lang en|es|fr|it|ru] [--share 0.05] [--seeds '1 2 3']
                                 [--conf conf/train.toml] [--exp exp/LANG-suspects] [--data data/LANG]
stages: 0 exchange texts, compute features  1 train  2 rank, with the losses alone and with the CTC costs, and compare"
. $root/utils/options.sh
exp=${exp:-exp/$lang-suspects}; data=${data:-data/$lang}
. $root/utils/path.sh
. $root/utils/cores.sh; nj=${nj:-$cores}
begin_stage() { [[ $stage -le $1 && $stop_stage -ge $1 ]] && echo "== stage $1: $2" >&2; }

if begin_stage 0 "exchange texts of training utterances"; then
  for seed in $seeds; do
    python3 local/wrong_texts.py plant "$data/train.jsonl" "$exp/$seed/planted.jsonl" --share "$share" --seed "$seed"
    ds2 featurize "$exp/$seed/planted.jsonl" "$exp/$seed/feats.jsonl" --config conf/featurize.train.toml --nj "$nj"
  done
fi
if begin_stage 1 "train on them"; then
  for seed in $seeds; do
    ds2 train "$exp/$seed/feats.jsonl" "$exp/$seed/exp" --config "$conf" --seed "$seed" --keep last --max-bad 5  # some texts are too long now
  done
fi
if begin_stage 2 "rank the utterances"; then
  echo "| evidence | seed | utterances | with the text of another | of these, among as many first ones | % | area under the ROC curve, % |"
  echo "|:--|--:|--:|--:|--:|--:|--:|"
  for seed in $seeds; do
    ds2 align "$exp/$seed/exp" "$exp/$seed/feats.jsonl" "$exp/$seed/costs.jsonl" --nj "$nj" --max-bad 5
    for evidence in losses "losses, costs"; do
      more=(); [[ $evidence == losses ]] || more=("$exp/$seed/costs.jsonl")
      ds2 data suspects "$exp/$seed/exp" "${more[@]}" --score 0 --out "$exp/$seed/suspects.jsonl" >/dev/null
      echo "| $evidence | $seed $(python3 local/wrong_texts.py measure "$exp/$seed/feats.jsonl" "$exp/$seed/suspects.jsonl")"
    done
  done
fi

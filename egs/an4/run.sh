#!/usr/bin/env bash
# Deep Speech 2 on AN4 (spelled words, numbers and control words of 84 speakers): from CMU's archive, or from published cepstra, to word error rates.
set -euo pipefail
caller=$PWD; cd "$(dirname "$0")"; root=../..
corpus_dir=${AN4:-}; cepstra=${AN4_CEPSTRA:-}; conf=conf/train.toml; seed=0; exp=; data=; test=
help="usage: egs/an4/run.sh --corpus-dir an4       (the folder that CMU's an4_sphere.tar.gz unpacks to: etc/ and wav/; or AN4=FOLDER)
       egs/an4/run.sh --cepstra FOLDER       (train.jsonl and dev.jsonl whose rows have 13 mel cepstra per frame; or AN4_CEPSTRA=FOLDER)
           [--test ROWS]                     (with --cepstra: further rows to recognize and score, with the same cepstra)
           [--stage 0] [--stop-stage 7] [--nj CORES] [--conf conf/train.toml] [--seed 0] [--exp exp/NAME] [--data data/NAME]
           [--resume true]                   (make only what is not fresh: see ds2 status)
           [--cmd \"utils/slurm.sh --partition NAME\"] [--dry-run true]   (see cmd.sh)
stages: 0 prepare  1 featurize  2 lm  3 train  4 emit  5 tune  6 decode  7 score"
. ./cmd.sh
. $root/utils/recipe.sh
corpus_dir=$(from_caller "$corpus_dir"); cepstra=$(from_caller "$cepstra"); test=$(from_caller "$test")
[[ -z $corpus_dir || -z $cepstra ]] || refuse "--corpus-dir and --cepstra: expected one of them (the variables AN4 and AN4_CEPSTRA set them, too)"
[[ -n $corpus_dir$cepstra ]] || refuse "no recordings: expected --corpus-dir an4, or --cepstra FOLDER"
[[ -z $test || -n $cepstra ]] || refuse "--test needs --cepstra (the official archive has its test set)"
name=recordings; sets="dev test"; kind=()
if [[ -n $cepstra ]]; then
  name=cepstra; sets=dev; [[ -z $test ]] || sets="dev test"
  kind=(--config conf/cepstra.toml)
  [[ -f $cepstra/train.jsonl || $dry_run == true ]] || refuse "no train.jsonl in '$cepstra' (--cepstra FOLDER, or --corpus-dir an4)"
elif [[ ! -d $corpus_dir/etc && $dry_run != true ]]; then
  refuse "no folder etc in '$corpus_dir' (--corpus-dir an4: the folder that the archive unpacks to)"
fi
exp=${exp:-exp/$name}; data=${data:-data/$name}
# speakers of the official training set whose 98 utterances are held out of it
dev_speakers=fash,flmm2,mtje,mrjc2,fwxs,mdcs2,mmal,mjbh
if [[ -n $cepstra ]]; then
  train_rows=$cepstra/train.jsonl; dev_rows=$cepstra/dev.jsonl; test_rows=$test; text=$train_rows
else
  train_rows=$data/train.feats.jsonl; dev_rows=$data/dev.feats.jsonl; test_rows=$data/test.feats.jsonl; text=$data/train.jsonl
fi
rows_of() { local rows=${1}_rows; echo "${!rows}"; }

if [[ -n $corpus_dir ]] && begin_stage 0 "one manifest per part; eight speakers of the training part are dev"; then
  job prepare prepare.all ds2 prepare an4 "${if_stale[@]}" "$corpus_dir" "$data/all.jsonl" --part train
  job prepare prepare.test ds2 prepare an4 "${if_stale[@]}" "$corpus_dir" "$data/test.jsonl" --part test
  job prepare prepare.dev ds2 data subset "${if_stale[@]}" "$data/all.jsonl" "$data/dev.jsonl" --speakers "$dev_speakers"
  job prepare prepare.train ds2 data subset "${if_stale[@]}" "$data/all.jsonl" "$data/train.jsonl" --without "$data/dev.jsonl"
fi
if [[ -n $corpus_dir ]] && begin_stage 1 "log mel filter banks"; then
  for part in train dev test; do
    split_job prepare featurize.$part "$data/$part.jsonl" "$data/$part.feats.jsonl" \
      ds2 featurize "${if_stale[@]}" {in} {out} --dir "$data/feats/$part" "${parallel[@]}" --config conf/featurize.toml
  done
fi
if begin_stage 2 "language model from the training transcripts"; then
  job prepare lm ds2 lm "${if_stale[@]}" "$text" "$exp/lm.arpa" --dev "$(rows_of dev)" --config conf/lm.toml
fi
if begin_stage 3 "train the network"; then
  job train train ds2 train "${if_stale[@]}" "$train_rows" "$exp" --dev "$dev_rows" --config "$conf" "${kind[@]}" --seed "$seed"
fi
if begin_stage 4 "emissions"; then
  for part in $sets; do
    split_job emit emit.$part "$(rows_of $part)" "$exp/$part.emit.jsonl" ds2 emit "${if_stale[@]}" "$exp" {in} {out} --dir "$exp/emissions/$part"
  done
fi
if begin_stage 5 "tune the search weights on dev"; then
  job decode tune ds2 decode "${if_stale[@]}" "$exp" "$exp/dev.emit.jsonl" --tune --lm "$exp/lm.arpa" "${parallel[@]}"
fi
if begin_stage 6 "decode without and with the language model"; then
  for part in $sets; do
    split_job decode decode.$part.greedy "$exp/$part.emit.jsonl" "$exp/$part.greedy.jsonl" ds2 decode "${if_stale[@]}" "$exp" {in} {out} --greedy
    split_job decode decode.$part.lm "$exp/$part.emit.jsonl" "$exp/$part.lm.jsonl" \
      ds2 decode "${if_stale[@]}" "$exp" {in} {out} --lm "$exp/lm.arpa" "${parallel[@]}"
  done
fi
if begin_stage 7 "word and character error rates"; then
  for part in $sets; do
    for way in greedy lm; do
      say "$part, $way:"
      job_to "$exp/$part.$way.wer" decode score.$part.$way ds2 score "$exp/$part.$way.jsonl" "$exp/$part.$way.scored.jsonl" --unit both
    done
  done
fi

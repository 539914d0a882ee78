#!/usr/bin/env bash
# Deep Speech 2 on a language of Common Voice: from the tables of clips to word and character error rates.
set -euo pipefail
caller=$PWD; cd "$(dirname "$0")"; root=../..
corpus_dir=${COMMONVOICE:-}; lang=; text_rules=letters; numbers=; features=conf/featurize.fbank.toml; on_the_fly=false; musan=; rirs=
unit=; text=; lm=; net=; conf=; init=; epochs=; nproc=1; seed=0; average=true; beam=; mini=false; exp=; data=; gpu=a100-80
help="usage: egs/commonvoice/run.sh --corpus-dir cv-corpus-VERSION --lang CODE   (COMMONVOICE=FOLDER in place of --corpus-dir)
                               [--stage 1] [--stop-stage 10] [--nj JOBS] [--seed 0] [--exp exp/LANG] [--data data/LANG]
                               [--text-rules letters|cased|written] [--numbers refuse|spell|keep]   (see ds2 prepare commonvoice --help)
                               [--features conf/featurize.spectrogram.toml]   (the features of the paper, in place of filter banks)
                               [--on-the-fly true]   (compute the features of the training part in each epoch, at a speed drawn for each utterance;
                                                      an epoch has each utterance once in place of three times)
                               [--musan musan] [--rirs RIRS_NOISES]   (with --on-the-fly: mix in noise, convolve with rooms)
                               [--text 'FILE…'] [--lm FILE] [--unit word|char]   (more text for the language model; another one; its units:
                                                      characters for languages without spaces)
                               [--net 70m-rnn-7x1760|…]   (a network of the paper, see ds2 model list)
                               [--conf conf/ds2.toml] [--init EXP]   (EXP: start from the network of another language)
                               [--epochs N] [--nproc GPUS] [--average false] [--beam 200]
                               [--mini true]     (a small network on 400 clips of the training table at most, in minutes)
                               [--resume true]   (make only what is not fresh: see ds2 status)
                               [--cmd \"utils/slurm.sh --partition NAME\"]   (see cmd.sh)
                               [--dry-run true [--gpu a100-80]]   (print the commands, and an estimate of the training on this GPU)
stages: 1 prepare  2 featurize  3 lm  4 train  5 average  6 emit  7 tune  8 decode  9 score  10 report
The corpus needs an account and cannot be downloaded by a script: https://datacollective.mozillafoundation.org, Common Voice Scripted Speech,
then unpack the archive of the language."
. ./cmd.sh
. $root/utils/recipe.sh
refuse() { echo "$0: $1" >&2; exit 2; }
from_caller() { [[ -z $1 || $1 == /* ]] && echo "$1" || echo "$caller/$1"; }
[[ -z $net || -z $conf ]] || refuse "--net and --conf both name a network (give one of them)"
[[ $on_the_fly == true || -z $musan$rirs ]] || refuse "--musan and --rirs change recordings, not stored features (add --on-the-fly true)"
name=
if [[ $mini == true ]]; then
  mini_jobs
  conf=${conf:-$([[ -n $net ]] || echo conf/mini.toml)}
  # few words are in two parts of so small a corpus
  name=-mini; lang=${lang:-en}; unit=${unit:-char}; corpus_dir=${corpus_dir:-$(cd $root && pwd)/../shared/data/commonvoice}
fi
[[ $dry_run == false || -n $corpus_dir ]] || corpus_dir=$PWD/corpus/cv-corpus-VERSION
[[ -n $lang ]] || refuse "--lang is missing: expected the code of a language, the name of its folder in the corpus, such as tr"
exp=${exp:-exp/$lang$name}; data=${data:-data/$lang$name}
corpus_dir=$(from_caller "$corpus_dir"); lm=$(from_caller "$lm"); init=$(from_caller "$init"); musan=$(from_caller "$musan"); rirs=$(from_caller "$rirs")
[[ $dry_run == true || -d $corpus_dir ]] ||
  refuse "no folder of Common Voice at '$corpus_dir' (--corpus-dir FOLDER, or COMMONVOICE=FOLDER; download it with an account at https://datacollective.mozillafoundation.org)"
read -ra text <<<"$text"; for i in "${!text[@]}"; do text[i]=$(from_caller "${text[i]}"); done
case $lang in zh* | ja | yue | th | lo | my | km) unit=${unit:-char} ;; *) unit=${unit:-word} ;; esac
rules=(--text-rules "$text_rules" ${numbers:+--numbers "$numbers"})
train=$data/train.feats.jsonl; [[ $on_the_fly == false ]] || train=$data/train.jsonl

if begin_stage 1 "a manifest of each part"; then
  if [[ $mini == true ]]; then
    job prepare prepare.all ds2 prepare commonvoice "${if_stale[@]}" "$corpus_dir" "$data/all.jsonl" --lang "$lang" --part train "${rules[@]}" "${parallel[@]}"
    job prepare subset ds2 data subset "${if_stale[@]}" "$data/all.jsonl" "$data/some.jsonl" --random 400
    # each text is in one part; not as a job, in whose command JOB is its number
    cmd= job prepare split ds2 data split "$data/some.jsonl" "$data/part.JOB.jsonl" --parts 5 --by text
    job prepare train ds2 data combine "${if_stale[@]}" "$data"/part.{1,2,3}.jsonl "$data/train.jsonl"
    job prepare dev ds2 data combine "${if_stale[@]}" "$data/part.4.jsonl" "$data/dev.jsonl"
    job prepare test ds2 data combine "${if_stale[@]}" "$data/part.5.jsonl" "$data/test.jsonl"
  else
    for part in train dev test; do
      job prepare prepare.$part ds2 prepare commonvoice "${if_stale[@]}" "$corpus_dir" "$data/$part.jsonl" --lang "$lang" --part $part "${rules[@]}" "${parallel[@]}"
    done
  fi
  [[ -z $musan ]] || job prepare musan ds2 prepare musan "${if_stale[@]}" "$musan" "$data/noise.jsonl" --part noise --split train --download "${parallel[@]}"
  [[ -z $rirs ]] || job prepare rirs ds2 prepare rirs_noises "${if_stale[@]}" "$rirs" "$data/rooms.jsonl" --part smallroom,mediumroom,real --split train --download "${parallel[@]}"
fi
if begin_stage 2 "features; stored ones of the training part at three speeds"; then
  for part in train dev test; do
    [[ $part != train || $on_the_fly == false ]] || continue
    speeds=(); [[ $part != train ]] || speeds=(--config conf/featurize.train.toml)
    split_job featurize featurize.$part "$data/$part.jsonl" "$data/$part.feats.jsonl" \
      ds2 featurize "${if_stale[@]}" {in} {out} --dir "$data/feats/$part" --compress "${parallel[@]}" --config "$features" "${speeds[@]}"
  done
fi
if begin_stage 3 "language model of ${unit}s: the training transcripts${text:+, and ${text[*]}}"; then
  [[ -n $lm ]] || job lm lm ds2 lm "${if_stale[@]}" "$data/train.jsonl" "${text[@]}" "$exp/lm.bin" --dev "$data/dev.jsonl" --config "conf/lm.$unit.toml" --lang "$lang" "${rules[@]}"
fi
lm=${lm:-$exp/lm.bin}
if begin_stage 4 "train the network"; then
  settings=(--config "${conf:-conf/ds2.toml}"); [[ -z $net ]] || settings=(--config "$net" --config conf/net.toml)
  [[ -z $net || $mini == false ]] || settings+=(--set precision=float32)
  [[ $on_the_fly == false ]] || settings+=(--features "$features" --config conf/on_the_fly.toml)
  [[ -z $musan ]] || settings+=(--set "augment.noise=$data/noise.jsonl")
  [[ -z $rirs ]] || settings+=(--set "augment.rir=$data/rooms.jsonl")
  settings+=(--seed "$seed" ${epochs:+--epochs "$epochs"} ${init:+--init "$init"})
  # a language of 100 hours, if it is not there
  planned=(--hours 100 --utterances 72000 --features "$features")
  [[ $on_the_fly == true ]] || planned=(--hours 302 --utterances 216000 --features "$features")
  [[ ! -f $train ]] || planned=("$train")
  [[ -z $gpu ]] || estimate "${planned[@]}" --gpu "$gpu" "${settings[@]}" --nproc "$nproc"
  job train train ds2 train "${if_stale[@]}" "$train" "$exp" --dev "$data/dev.feats.jsonl" "${settings[@]}" --nproc "$nproc"
fi
network=$exp; [[ $average == false ]] || network=$exp/average
if begin_stage 5 "average the networks of the best epochs"; then
  # the pattern is for the job
  # shellcheck disable=SC2016
  [[ $average == false ]] || job score average bash -c 'mkdir -p "$2" && exec ds2 model average "$1"/epoch-*.safetensors "$2/best.safetensors"' average "$exp" "$network"
fi
if begin_stage 6 "emissions of the dev and test parts"; then
  for part in dev test; do
    split_job emit emit.$part "$data/$part.feats.jsonl" "$exp/$part.emit.jsonl" \
      ds2 emit "${if_stale[@]}" "$network" {in} {out} --dir "$exp/emissions/$part"
  done
fi
if begin_stage 7 "tune the search weights on 2,000 utterances of dev"; then
  job decode tune.subset ds2 data subset "${if_stale[@]}" "$exp/dev.emit.jsonl" "$exp/dev.tune.jsonl" --random 2000
  job decode tune ds2 decode "${if_stale[@]}" "$network" "$exp/dev.tune.jsonl" --tune --lm "$lm" "${parallel[@]}"
fi
if begin_stage 8 "decode without and with the language model"; then
  for part in dev test; do
    split_job decode decode.$part.greedy "$exp/$part.emit.jsonl" "$exp/$part.greedy.jsonl" ds2 decode "${if_stale[@]}" "$network" {in} {out} --greedy
    split_job decode decode.$part.lm "$exp/$part.emit.jsonl" "$exp/$part.lm.jsonl" \
      ds2 decode "${if_stale[@]}" "$network" {in} {out} --lm "$lm" --config conf/decode.toml ${beam:+--beam "$beam"} "${parallel[@]}"
  done
fi
if begin_stage 9 "word and character error rates, with certificates in the .json files"; then
  for part in dev test; do
    for kind in greedy lm; do
      say "$part, $kind:"
      job_to "$exp/$part.$kind.wer" score score.$part.$kind ds2 score "$exp/$part.$kind.jsonl" "$exp/$part.$kind.scored.jsonl" --unit both --json "$exp/$part.$kind.json"
    done
  done
  say "test, is the gain by the language model real?"
  job_to "$exp/test.compare" score compare.test ds2 score --compare "$exp/test.greedy.jsonl" "$exp/test.lm.jsonl" --unit "$unit"
fi
if begin_stage 10 "table of the results"; then
  rows=(); for part in dev test; do for kind in greedy lm; do rows+=("$part, $kind=$exp/$part.$kind.json"); done; done
  job_to "$exp/results.md" score report python3 $root/utils/rate_table.py "${rows[@]}"
fi

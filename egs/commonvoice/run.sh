#!/usr/bin/env bash
# Deep Speech 2 on a language of Common Voice: from the tables of clips to word and character error rates.
set -euo pipefail
caller=$PWD; cd "$(dirname "$0")"; root=../..
corpus_dir=${COMMONVOICE:-}; lang=; text_rules=letters; numbers=; features=fbank; on_the_fly=; musan=; rirs=
unit=; text=; lm=; net=; conf=; init=; epochs=; nproc=1; nodes=; readers=; seed=0; average=true; beam=; mini=false; exp=; data=; gpu=h100
help="usage: egs/commonvoice/run.sh --corpus-dir cv-corpus-VERSION --lang CODE   (COMMONVOICE=FOLDER in place of --corpus-dir)
                               [--stage 0] [--stop-stage 11] [--nj JOBS] [--seed 0] [--exp exp/LANG] [--data data/LANG]
  data:      [--text-rules letters|cased|written] [--numbers refuse|spell|keep]   (see ds2 prepare commonvoice --help)
             [--features fbank|spectrogram]   (spectrogram: that of the paper)
             [--on-the-fly true]   (no stored features of the training part; always with --musan and --rirs. An epoch then has each
                                   utterance once, at a speed drawn for it, and not at three speeds: give --epochs 60 for 20)
             [--musan FOLDER] [--rirs FOLDER]   (mix in noise, add reverberation: MUSAN and RIRS_NOISES, which are downloaded if FOLDER
                                   does not exist, or any folder of recordings)
  network:   [--net 70m-rnn-7x1760|…]   (a network of the paper: ds2 model list; conf/train.toml has the settings of its training)
             [--conf conf/ds2.toml]   (or all settings in this file) [--epochs N] [--average false] (use the best epoch)
             [--init EXP]   (start from the network of another language)
             [--nproc GPUS] [--nodes MACHINES]   (processes per machine; --nodes starts them with torchrun, one machine included)
             [--readers N]   (data-loader processes per process; 8 with --on-the-fly)
  language:  [--text 'FILE…']   (more text for the language model of the training transcripts; a text from Wikipedia may have sentences of
                                   the test part in it)
             [--lm FILE]   (another language model: .arpa, .arpa.gz or .bin) [--unit word|char]   (char: for languages without spaces)
             [--beam 200]
  how:       [--mini true]     (a small network on 400 clips of the training table at most, in minutes)
             [--resume true]   (make only what is not fresh: see ds2 status)
             [--cmd \"utils/slurm.sh --partition NAME\"]   (see cmd.sh)
             [--dry-run true [--gpu h100]]   (print the commands, with an estimate of the training on this GPU)
stages: 0 download  1 prepare  2 features  3 noise and rooms  4 lm  5 train  6 average  7 emit  8 tune  9 decode  10 score  11 report
The corpus needs an account, so no script can download it: https://datacollective.mozillafoundation.org, Common Voice Scripted Speech; then
unpack the archive of the language."
. ./cmd.sh
. $root/utils/recipe.sh
for name in mini average; do [[ ${!name} =~ ^(true|false)$ ]] || refuse "--$name: expected true or false, got '${!name}'"; done
[[ -z $net || -z $conf ]] || refuse "--net and --conf both name a network (give one of them)"
[[ -z $unit || $unit == word || $unit == char ]] || refuse "--unit: expected word or char, got '$unit'"
[[ -z $text || -z $lm ]] || refuse "--text and --lm: the text is for the model that is made here (give one of them)"
[[ $features == spectrogram || $features == fbank ]] || refuse "--features: expected spectrogram or fbank, got '$features'"
[[ $on_the_fly != false || -z $musan$rirs ]] || refuse "--musan and --rirs change recordings, not stored features (leave out --on-the-fly false)"
on_the_fly=${on_the_fly:-$([[ -n $musan$rirs ]] && echo true || echo false)}
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
train_job=${train_job//NPROC/$nproc}
read -ra text <<<"$text"; for i in "${!text[@]}"; do text[i]=$(from_caller "${text[i]}"); done
case $lang in zh* | ja | yue | th | lo | my | km) unit=${unit:-char} ;; *) unit=${unit:-word} ;; esac
rules=(--text-rules "$text_rules" ${numbers:+--numbers "$numbers"})
kind=conf/featurize.$features.toml
. $root/utils/noise.sh
train=$data/train.feats.jsonl; [[ $on_the_fly == false ]] || train=$data/train.jsonl
. $root/utils/network_stages.sh

if begin_stage 0 "download noise and rooms if they are not there (the corpus itself: see --help)"; then
  download_noise
fi
if begin_stage 1 "a manifest of each part"; then
  if [[ $mini == true ]]; then
    job prepare prepare.all ds2 prepare commonvoice "${if_stale[@]}" "$corpus_dir" "$data/all.jsonl" --lang "$lang" --part train "${rules[@]}" "${parallel[@]}"
    job prepare subset ds2 data subset "${if_stale[@]}" "$data/all.jsonl" "$data/some.jsonl" --random 400
    # each text is in one part; not as a job, in whose command JOB is its number
    cmd= job prepare split ds2 data split "$data/some.jsonl" "$data/part.JOB.jsonl" --parts 5 --by text
    job prepare combine.train ds2 data combine "${if_stale[@]}" "$data"/part.{1,2,3}.jsonl "$data/train.jsonl"
    job prepare combine.dev ds2 data combine "${if_stale[@]}" "$data/part.4.jsonl" "$data/dev.jsonl"
    job prepare combine.test ds2 data combine "${if_stale[@]}" "$data/part.5.jsonl" "$data/test.jsonl"
  else
    for part in train dev test; do
      job prepare prepare.$part ds2 prepare commonvoice "${if_stale[@]}" "$corpus_dir" "$data/$part.jsonl" --lang "$lang" --part $part "${rules[@]}" "${parallel[@]}"
    done
  fi
fi
if begin_stage 2 "features; stored ones of the training part at three speeds"; then
  featurize_parts
fi
if begin_stage 3 "noise and rooms"; then
  prepare_noise
fi
if begin_stage 4 "language model of ${unit}s: the training transcripts${text:+, and ${text[*]}}"; then
  [[ -n $lm ]] || job lm lm ds2 lm "${if_stale[@]}" "$data/train.jsonl" "${text[@]}" "$exp/lm.bin" --dev "$data/dev.jsonl" --config "conf/lm.$unit.toml" --lang "$lang" "${rules[@]}"
fi
lm=${lm:-$exp/lm.bin}
if begin_stage 5 "train the network"; then
  # a language of 100 hours, if it is not there
  planned=(--hours 100 --utterances 72000 --features "$kind")
  [[ $on_the_fly == true ]] || planned=(--hours 302 --utterances 216000 --features "$kind")
  [[ ! -f $train ]] || planned=("$train")
  train_network --seed "$seed" ${readers:+--readers "$readers"} ${epochs:+--epochs "$epochs"} ${init:+--init "$init"}
fi
if begin_stage 6 "average the networks of the best epochs"; then
  average_network
fi
if begin_stage 7 "emissions of the dev and test parts"; then
  emit_parts
fi
if begin_stage 8 "tune the search weights on 2,000 utterances of dev"; then
  tune_weights
fi
if begin_stage 9 "decode without and with the language model"; then
  search_parts
fi
if begin_stage 10 "word and character error rates, with certificates in the .json files"; then
  for part in dev test; do
    for pass in greedy lm; do
      say "$part, $pass:"
      job_to "$exp/$part.$pass.wer" score score.$part.$pass ds2 score "$exp/$part.$pass.jsonl" "$exp/$part.$pass.scored.jsonl" --unit both --json "$exp/$part.$pass.json"
    done
  done
  say "test, is the gain by the language model real?"
  job_to "$exp/test.compare" score compare.test ds2 score --compare "$exp/test.greedy.jsonl" "$exp/test.lm.jsonl" --unit "$unit"
fi
if begin_stage 11 "table of the results"; then
  rows=(); for part in dev test; do for pass in greedy lm; do rows+=("$part, $pass=$exp/$part.$pass.json"); done; done
  job_to "$exp/results.md" score report python3 $root/utils/rate_table.py "${rows[@]}"
fi

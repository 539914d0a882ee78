#!/usr/bin/env bash
# Deep Speech 2 on AISHELL-1 (178 hours of read Mandarin, 400 speakers): from the download to character error rates.
set -euo pipefail
caller=$PWD; cd "$(dirname "$0")"; root=../..
corpus_dir=${AISHELL:-}; download=; features=fbank; on_the_fly=; musan=; rirs=; text=; lm=
net=; conf=; epochs=; nproc=1; nodes=; readers=; seed=0; average=true; beam=; mini=false; source=; exp=; data=; gpu=h100
help="usage: egs/aishell/run.sh [--stage 0] [--stop-stage 11] [--nj JOBS] [--seed 0] [--exp exp/NAME] [--data data/FEATURES]
  data:      [--corpus-dir data_aishell]   (use this folder, or AISHELL=FOLDER; otherwise the corpus is downloaded; --download true: into it)
             [--features fbank|spectrogram]   (spectrogram: that of the paper)
             [--on-the-fly true]   (no stored features of the training part; always with --musan and --rirs. An epoch then has each
                                   utterance once, at a speed drawn for it, and not at three speeds: give --epochs 60 for 20)
             [--musan FOLDER] [--rirs FOLDER]   (mix in noise, add reverberation: MUSAN and RIRS_NOISES, which are downloaded if FOLDER
                                   does not exist, or any folder of recordings)
  network:   [--net mandarin-research|mandarin-deployed|…]   (a network of the paper: ds2 model list; conf/train.toml has the settings
                                   of its training)
             [--conf conf/ds2.toml]   (or all settings in this file) [--epochs N] [--average false] (use the best epoch)
             [--nproc GPUS] [--nodes MACHINES]   (processes per machine; --nodes starts them with torchrun, one machine included)
             [--readers N]   (data-loader processes per process; 8 with --on-the-fly)
  language:  [--text 'FILE…']   (more text for the 5-gram of characters of the training transcripts)
             [--lm FILE]   (another language model of characters: .arpa, .arpa.gz or .bin) [--beam 300]
  how:       [--mini true [--source FOLDER|TABLE]]   (a small network on a small corpus, in minutes; --source: any Mandarin recordings
                                   with their texts, which local/make_mini.py arranges as a corpus)
             [--resume true]   (make only what is not fresh: see ds2 status)
             [--cmd \"utils/slurm.sh --partition NAME\"]   (see cmd.sh)
             [--dry-run true [--gpu h100]]   (print the commands, with an estimate of the training on this GPU)
stages: 0 download  1 prepare  2 features  3 noise and rooms  4 lm  5 train  6 average  7 emit  8 tune  9 decode  10 score  11 report"
. ./cmd.sh
. $root/utils/recipe.sh
for name in mini average; do [[ ${!name} =~ ^(true|false)$ ]] || refuse "--$name: expected true or false, got '${!name}'"; done
[[ -z $net || -z $conf ]] || refuse "--net and --conf both name a network (give one of them)"
[[ -z $text || -z $lm ]] || refuse "--text and --lm: the text is for the model that is made here (give one of them)"
[[ $features == spectrogram || $features == fbank ]] || refuse "--features: expected spectrogram or fbank, got '$features'"
[[ $on_the_fly != false || -z $musan$rirs ]] || refuse "--musan and --rirs change recordings, not stored features (leave out --on-the-fly false)"
on_the_fly=${on_the_fly:-$([[ -n $musan$rirs ]] && echo true || echo false)}
[[ $mini == true || -z $source ]] || refuse "--source only applies with --mini true"
kind=conf/featurize.$features.toml
name=${net:-$(basename "${conf:-conf/ds2.toml}" .toml)}
if [[ $mini == true ]]; then
  mini_jobs
  conf=${conf:-$([[ -n $net ]] || echo conf/mini.toml)}
  name=mini; corpus_dir=${corpus_dir:-$PWD/corpus/mini}; download=${download:-false}
fi
exp=${exp:-exp/$name}; data=${data:-data/$([[ $mini == true ]] && echo mini || echo "$features")}
download=${download:-$([[ -n $corpus_dir ]] && echo false || echo true)}
corpus_dir=$(from_caller "${corpus_dir:-$PWD/corpus/data_aishell}"); lm=$(from_caller "$lm"); musan=$(from_caller "$musan"); rirs=$(from_caller "$rirs"); source=$(from_caller "$source")
train_job=${train_job//NPROC/$nproc}
read -ra text <<<"$text"; for i in "${!text[@]}"; do text[i]=$(from_caller "${text[i]}"); done
. $root/utils/noise.sh
train=$data/train.feats.jsonl; [[ $on_the_fly == false ]] || train=$data/train.jsonl
. $root/utils/network_stages.sh

[[ $download == true || $dry_run == true || -n $source || -d $corpus_dir ]] ||
  refuse "no corpus at '$corpus_dir' (--corpus-dir data_aishell, or AISHELL=FOLDER, or --download true; --mini true also takes --source)"

if begin_stage 0 "download what is not there; here, as nodes of a cluster often have no access to the Internet"; then
  [[ $download == false ]] || cmd= job prepare download ds2 prepare aishell "$corpus_dir" "$data/all.jsonl" --download --check header "${parallel[@]}"
  download_noise
  [[ -z $source || ($resume == true && -d $corpus_dir/wav) ]] || job prepare arrange python3 local/make_mini.py "$source" "$corpus_dir"
fi
if begin_stage 1 "a manifest of each part"; then
  for part in train dev test; do
    all=$data/$part.jsonl; [[ $mini == false ]] || all=$data/$part.all.jsonl
    # one bad text is more than 1 % of a small part
    bad=(); [[ $mini == false ]] || bad=(--max-bad 5)
    job prepare prepare.$part ds2 prepare aishell "${if_stale[@]}" "$corpus_dir" "$all" --part $part "${bad[@]}" "${parallel[@]}"
    [[ $mini == false ]] || job prepare subset.$part ds2 data subset "${if_stale[@]}" "$all" "$data/$part.jsonl" --random $([[ $part == train ]] && echo 1000 || echo 150)
  done
fi
if begin_stage 2 "features; stored ones of the training part at three speeds"; then
  featurize_parts
fi
if begin_stage 3 "noise and rooms"; then
  prepare_noise
fi
if begin_stage 4 "language model of characters: the training transcripts${text:+, and ${text[*]}}"; then
  [[ -n $lm ]] || job lm lm ds2 lm "${if_stale[@]}" "$data/train.jsonl" "${text[@]}" "$exp/lm.bin" --dev "$data/dev.jsonl" --config conf/lm.toml
fi
lm=${lm:-$exp/lm.bin}
if begin_stage 5 "train the network"; then
  # the published training part, of 120,098 utterances, if it is not there
  planned=(--hours 150 --utterances 120098 --longest 15 --symbols 4300 --features "$kind")
  [[ $on_the_fly == true ]] || planned=(--hours 453 --utterances 360294 --longest 17 --symbols 4300 --features "$kind")
  [[ ! -f $train ]] || planned=("$train")
  train_network --seed "$seed" ${readers:+--readers "$readers"} ${epochs:+--epochs "$epochs"}
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
if begin_stage 10 "character error rates, with certificates in the .json files"; then
  for part in dev test; do
    for pass in greedy lm; do
      say "$part, $pass:"
      job_to "$exp/$part.$pass.cer" score score.$part.$pass ds2 score "$exp/$part.$pass.jsonl" "$exp/$part.$pass.scored.jsonl" --unit char --json "$exp/$part.$pass.json"
    done
  done
  say "test, is the gain by the language model real?"
  job_to "$exp/test.compare" score compare.test ds2 score --compare "$exp/test.greedy.jsonl" "$exp/test.lm.jsonl" --unit char
fi
if begin_stage 11 "table of the results"; then
  rows=(); for part in dev test; do for pass in greedy lm; do rows+=("$part, $pass=$exp/$part.$pass.json"); done; done
  # of the whole test part, with a language model of 2.8 GB
  [[ $mini == true ]] || rows+=("PaddleSpeech DS2, offline, test=CER:6.40" "PaddleSpeech DS2, online, test=CER:6.66")
  job_to "$exp/results.md" score report python3 $root/utils/rate_table.py "${rows[@]}"
fi

#!/usr/bin/env bash
# Deep Speech 2 on AISHELL-1 (178 hours of read Mandarin, 400 speakers): from the download to character error rates.
set -euo pipefail
caller=$PWD; cd "$(dirname "$0")"; root=../..
corpus_dir=${AISHELL:-}; features=conf/featurize.fbank.toml; on_the_fly=false; musan=; rirs=; text=; lm=
net=; conf=; epochs=; nproc=1; seed=0; average=true; beam=; mini=false; source=; exp=; data=; gpu=a100-80
help="usage: egs/aishell/run.sh [--corpus-dir data_aishell]    (use this folder, or AISHELL=FOLDER; otherwise the corpus is downloaded)
                           [--stage 0] [--stop-stage 10] [--nj JOBS] [--seed 0] [--exp exp/ds2] [--data data/fbank]
                           [--features conf/featurize.spectrogram.toml]   (the features of the paper, in place of filter banks)
                           [--on-the-fly true]   (compute the features of the training part in each epoch, at a speed drawn for each utterance;
                                                  an epoch has each utterance once in place of three times)
                           [--musan musan] [--rirs RIRS_NOISES]   (with --on-the-fly: mix in noise, convolve with rooms)
                           [--text 'FILE…'] [--lm FILE]   (more text for the language model; another language model of characters)
                           [--net mandarin-research|mandarin-deployed|…]   (a network of the paper, see ds2 model list)
                           [--conf conf/ds2.toml] [--epochs N] [--nproc GPUS] [--average false] [--beam 300]
                           [--mini true [--source FOLDER|TABLE]]   (a small network on a small corpus, in minutes; --source: any Mandarin
                                                  recordings with texts, which local/make_mini.py arranges as a corpus)
                           [--resume true]   (make only what is not fresh: see ds2 status)
                           [--cmd \"utils/slurm.sh --partition NAME\"]   (see cmd.sh)
                           [--dry-run true [--gpu h200]]   (print the commands, and an estimate of the training on this GPU)
stages: 0 download  1 prepare  2 featurize  3 lm  4 train  5 average  6 emit  7 tune  8 decode  9 score  10 report"
. ./cmd.sh
. $root/utils/recipe.sh
refuse() { echo "$0: $1" >&2; exit 2; }
from_caller() { [[ -z $1 || $1 == /* ]] && echo "$1" || echo "$caller/$1"; }
[[ -z $net || -z $conf ]] || refuse "--net and --conf both name a network (give one of them)"
[[ $on_the_fly == true || -z $musan$rirs ]] || refuse "--musan and --rirs change recordings, not stored features (add --on-the-fly true)"
[[ $mini == true || -z $source ]] || refuse "--source only applies with --mini true"
kind=$(basename "$features" .toml); kind=${kind#featurize.}
name=${net:-$(basename "${conf:-conf/ds2.toml}" .toml)}; download=--no-download
if [[ $mini == true ]]; then
  mini_jobs
  conf=${conf:-$([[ -n $net ]] || echo conf/mini.toml)}
  name=mini; kind=mini; corpus_dir=${corpus_dir:-$PWD/corpus/mini}
fi
exp=${exp:-exp/$name}; data=${data:-data/$kind}
[[ -n $corpus_dir ]] || { corpus_dir=$PWD/corpus/data_aishell; download=--download; }
corpus_dir=$(from_caller "$corpus_dir"); lm=$(from_caller "$lm"); musan=$(from_caller "$musan"); rirs=$(from_caller "$rirs"); source=$(from_caller "$source")
read -ra text <<<"$text"; for i in "${!text[@]}"; do text[i]=$(from_caller "${text[i]}"); done
train=$data/train.feats.jsonl; [[ $on_the_fly == false ]] || train=$data/train.jsonl

if begin_stage 0 "download, or arrange the recordings of --source"; then
  if [[ -n $source ]]; then
    [[ $resume == true && -d $corpus_dir/wav ]] || job prepare arrange python3 local/make_mini.py "$source" "$corpus_dir"
  elif [[ $mini == true && ! -d $corpus_dir && $dry_run == false ]]; then
    refuse "no corpus at $corpus_dir (--source with Mandarin recordings and their texts, or --corpus-dir data_aishell)"
  elif [[ $mini == false ]]; then
    job prepare download ds2 prepare aishell "${if_stale[@]}" "$corpus_dir" "$data/all.jsonl" $download --check header "${parallel[@]}"
  fi
  [[ -z $musan ]] || job prepare musan ds2 prepare musan "${if_stale[@]}" "$musan" "$data/noise.jsonl" --part noise --split train --download "${parallel[@]}"
  [[ -z $rirs ]] || job prepare rirs ds2 prepare rirs_noises "${if_stale[@]}" "$rirs" "$data/rooms.jsonl" --part smallroom,mediumroom,real --split train --download "${parallel[@]}"
fi
if begin_stage 1 "a manifest of each part"; then
  for part in train dev test; do
    all=$data/$part.jsonl; [[ $mini == false ]] || all=$data/$part.all.jsonl
    job prepare prepare.$part ds2 prepare aishell "${if_stale[@]}" "$corpus_dir" "$all" --part $part "${parallel[@]}"
    [[ $mini == false ]] || job prepare subset.$part ds2 data subset "${if_stale[@]}" "$all" "$data/$part.jsonl" --random $([[ $part == train ]] && echo 1000 || echo 150)
  done
fi
if begin_stage 2 "features; stored ones of the training part at three speeds"; then
  for part in train dev test; do
    [[ $part != train || $on_the_fly == false ]] || continue
    speeds=(); [[ $part != train ]] || speeds=(--config conf/featurize.train.toml)
    split_job featurize featurize.$part "$data/$part.jsonl" "$data/$part.feats.jsonl" \
      ds2 featurize "${if_stale[@]}" {in} {out} --dir "$data/feats/$part" --compress "${parallel[@]}" --config "$features" "${speeds[@]}"
  done
fi
if begin_stage 3 "language model of characters: the training transcripts${text:+, and ${text[*]}}"; then
  [[ -n $lm ]] || job lm lm ds2 lm "${if_stale[@]}" "$data/train.jsonl" "${text[@]}" "$exp/lm.bin" --dev "$data/dev.jsonl" --config conf/lm.toml
fi
lm=${lm:-$exp/lm.bin}
if begin_stage 4 "train the network"; then
  settings=(--config "${conf:-conf/ds2.toml}"); [[ -z $net ]] || settings=(--config "$net" --config conf/net.toml)
  [[ -z $net || $mini == false ]] || settings+=(--set precision=float32)
  [[ $on_the_fly == false ]] || settings+=(--features "$features" --config conf/on_the_fly.toml)
  [[ -z $musan ]] || settings+=(--set "augment.noise=$data/noise.jsonl")
  [[ -z $rirs ]] || settings+=(--set "augment.rir=$data/rooms.jsonl")
  settings+=(--seed "$seed" ${epochs:+--epochs "$epochs"})
  # the published training part, of 120,098 utterances, if it is not there
  planned=(--hours 150 --utterances 120098 --longest 15 --symbols 4300 --features "$features")
  [[ $on_the_fly == true ]] || planned=(--hours 453 --utterances 360294 --longest 17 --symbols 4300 --features "$features")
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
if begin_stage 9 "character error rates, with certificates in the .json files"; then
  for part in dev test; do
    for kind in greedy lm; do
      say "$part, $kind:"
      job_to "$exp/$part.$kind.cer" score score.$part.$kind ds2 score "$exp/$part.$kind.jsonl" "$exp/$part.$kind.scored.jsonl" --unit char --json "$exp/$part.$kind.json"
    done
  done
  say "test, is the gain by the language model real?"
  job_to "$exp/test.compare" score compare.test ds2 score --compare "$exp/test.greedy.jsonl" "$exp/test.lm.jsonl" --unit char
fi
if begin_stage 10 "table of the results"; then
  rows=(); for part in dev test; do for kind in greedy lm; do rows+=("$part, $kind=$exp/$part.$kind.json"); done; done
  # of the whole test part, with a language model of 2.8 GB
  [[ $mini == true ]] || rows+=("PaddleSpeech DS2, offline, test=CER:6.40" "PaddleSpeech DS2, online, test=CER:6.66")
  job_to "$exp/results.md" score report python3 $root/utils/rate_table.py "${rows[@]}"
fi

#!/usr/bin/env bash
# Deep Speech 2 on LibriSpeech (960 hours): from the download to a table of word error rates; --mini true runs the same stages on a few utterances.
set -euo pipefail
caller=$PWD; cd "$(dirname "$0")"; root=../..
corpus_dir=${LIBRISPEECH:-}; download=; train="train-clean-100 train-clean-360 train-other-500"; dev="dev-clean dev-other"; test="test-clean test-other"
features=spectrogram; on_the_fly=; musan=; rirs=; text=; lm=; rescore=; net=; conf=; epochs=; batch_s=; nproc=1; nodes=; readers=; seed=0; average=true
mini=false; exp=; data=; gpu=h100; lm_memory=
help="usage: egs/librispeech/run.sh [--stage 0] [--stop-stage 12] [--nj JOBS] [--seed 0] [--exp exp/NAME] [--data data/FEATURES]
  data:      [--corpus-dir LibriSpeech]   (use this folder, or LIBRISPEECH=FOLDER; otherwise the subsets are downloaded; --download true: into it)
             [--train 'SUBSET…'] [--dev 'SUBSET…'] [--test 'SUBSET…']
             [--features spectrogram|fbank]
             [--on-the-fly true]   (no stored features of the training part; always with --musan and --rirs)
             [--musan FOLDER] [--rirs FOLDER]   (mix in noise, add reverberation: MUSAN and RIRS_NOISES, which are downloaded if FOLDER
                                   does not exist, or any folder of recordings)
  network:   [--net 70m-rnn-7x1760]   (a network of the paper: ds2 model list; conf/train.toml has the settings of its training)
             [--conf FILE]   (or all settings in this file) [--epochs N] [--batch-s SECONDS] [--average false] (use the best epoch)
             [--nproc GPUS] [--nodes MACHINES]   (processes per machine; --nodes starts them with torchrun, one machine included)
             [--readers N]   (data-loader processes per process; 4 with --on-the-fly)
  language:  [--lm MODEL] [--rescore MODEL|none]   (of the first pass, and of a second one over the same emissions; MODEL is
                                   3-gram.pruned.1e-7, 3-gram or 4-gram, as published, own, a 5-gram of the published text of 803 M words,
                                   transcripts, a 3-gram of the training transcripts, or a file)
             [--text 'FILE…'] [--lm-memory 32G]   (of own: more text; memory in which lmplz sorts, the rest is on the disk, in \$TMPDIR)
  how:       [--mini true]   (a small network on a few utterances, in minutes)
             [--resume true]   (make only what is not fresh: see ds2 status)
             [--cmd \"utils/slurm.sh --partition NAME\"]   (see cmd.sh)
             [--dry-run true [--gpu h100]]   (print the commands, with estimates for this GPU)
stages: 0 download  1 prepare  2 features  3 noise and rooms  4 lm  5 train  6 average  7 emit  8 tune  9 decode  10 rescore  11 score  12 report"
. ./cmd.sh
. $root/utils/recipe.sh
. ./local/figures.sh
for name in mini average; do [[ ${!name} =~ ^(true|false)$ ]] || refuse "--$name: expected true or false, got '${!name}'"; done
[[ -z $net || -z $conf ]] || refuse "--net and --conf both name a network (give one of them)"
[[ $features == spectrogram || $features == fbank ]] || refuse "--features: expected spectrogram or fbank, got '$features'"
[[ ${nodes:-1} == 1 || -n $cmd ]] || refuse "--nodes $nodes: needs a cluster (--cmd \"utils/slurm.sh …\"; without Slurm, start utils/torchrun.sh on each machine)"
[[ $on_the_fly != false || -z $musan$rirs ]] || refuse "--musan and --rirs change recordings, not stored features (leave out --on-the-fly false)"
on_the_fly=${on_the_fly:-$([[ -n $musan$rirs ]] && echo true || echo false)}
full=$(full_sizes); given_memory=$lm_memory
if [[ $mini == true ]]; then
  mini_jobs; mini_figures
  [[ $train != *train-clean-360* ]] || train=train-clean-100
  [[ $dev != "dev-clean dev-other" ]] || dev=dev-clean
  [[ -n $net ]] || conf=${conf:-conf/mini.toml}
  lm=${lm:-transcripts}; rescore=${rescore:-own}; lm_memory=${lm_memory:-200M}
  corpus_dir=${corpus_dir:-$(cd $root && pwd)/../shared/data/LibriSpeech}
fi
lm=${lm:-3-gram.pruned.1e-7}; rescore=${rescore:-4-gram}
[[ -n $conf ]] || net=${net:-70m-rnn-7x1760}
name=${net:-$(basename "$conf" .toml)}
data=${data:-data/$([[ $mini == true ]] && echo mini || echo $features)}; exp=${exp:-exp/$name}
download=${download:-$([[ -n $corpus_dir ]] && echo false || echo true)}
corpus_dir=$(from_caller "${corpus_dir:-$PWD/corpus/LibriSpeech}"); musan=$(from_caller "$musan"); rirs=$(from_caller "$rirs")
read -ra text <<<"$text"; for i in "${!text[@]}"; do text[i]=$(from_caller "${text[i]}"); done
read -ra train <<<"$train"; read -ra dev <<<"$dev"; read -ra test <<<"$test"
[[ $download == true || $dry_run == true || -d $corpus_dir ]] ||
  refuse "no LibriSpeech folder at '$corpus_dir' (--corpus-dir FOLDER, or LIBRISPEECH=FOLDER, or --download true)"
. $root/utils/noise.sh
network=(--config "${net:-$conf}"); [[ -z $net ]] || network+=(--config conf/train.toml)
[[ -z $net || $mini == false ]] || { network+=(--set precision=float32); batch_s=${batch_s:-16}; }
[[ -z $epochs ]] || network+=(--epochs "$epochs")
[[ -z $batch_s ]] || network+=(--batch-s "$batch_s")
kind=(); [[ $features == spectrogram ]] || kind=(--config conf/featurize.fbank.toml)
train_rows=$data/train.feats.jsonl; [[ $on_the_fly == false ]] || train_rows=$data/train.jsonl
recognizer=$exp; [[ $average == false ]] || recognizer=$exp/average
train_job=${train_job//NPROC/$nproc}

rows_of() {  # FOLDER END SUBSET…  →  _rows, a file of each subset
  local subset; _rows=()
  for subset in "${@:3}"; do _rows+=("$1/$subset$2"); done
}
model() {  # MODEL → its file
  case $1 in
    none) ;;
    3-gram.pruned.1e-7 | 3-gram | 4-gram) echo "corpus/lm/$1.bin" ;;
    own | transcripts) echo "$data/lm/$1.bin" ;;
    *.arpa | *.arpa.gz | *.bin) from_caller "$1" ;;
    *) refuse "--lm and --rescore: expected 3-gram.pruned.1e-7, 3-gram, 4-gram, own, transcripts, or a file .arpa, .arpa.gz or .bin, got '$1'" ;;
  esac
}
lm_file=$(model "$lm"); rescore_file=$(model "$rescore")
[[ -z ${text[*]}$given_memory || $lm == own || $rescore == own ]] || refuse "--text and --lm-memory are for the model own (--lm own or --rescore own)"
[[ -n $lm_file ]] || refuse "--lm none: the first pass needs a language model (--rescore none leaves out the second)"
passes=(lm); [[ $rescore == none ]] || passes+=(rescored)

if begin_stage 0 "download what is not there; here, as nodes of a cluster often have no access to the Internet"; then
  published=(); for one in "$lm" "$rescore"; do case $one in 3-gram.pruned.1e-7 | [34]-gram) published+=("$one") ;; esac; done
  [[ $lm != own && $rescore != own || $mini == true ]] || published+=(text)
  # what stage 4 needs is looked for before hours of download
  if [[ ${#published[@]} -gt 0 && $dry_run == false ]]; then
    PATH=$PATH${KENLM_BIN:+:$KENLM_BIN}:$root/tools/kenlm/bin command -v build_binary >/dev/null || refuse "no build_binary of KenLM, which stage 4 needs (make kenlm)"
  fi
  [[ $download == false ]] || cmd= job prepare download python3 local/download.py corpus "$corpus_dir" "${train[@]}" "${dev[@]}" "${test[@]}"
  [[ ${#published[@]} -eq 0 ]] || cmd= job prepare download.lm python3 local/download.py lm corpus/lm "${published[@]}"
  download_noise
fi
if begin_stage 1 "manifests of the subsets"; then
  for subset in "${train[@]}" "${dev[@]}" "${test[@]}"; do
    job prepare prepare."$subset" ds2 prepare librispeech "${if_stale[@]}" "$corpus_dir" "$data/$subset.jsonl" --part "$subset" "${parallel[@]}"
  done
fi
if begin_stage 2 "features"; then
  stored=("${train[@]}"); [[ $on_the_fly == false ]] || stored=()
  [[ ${#stored[@]} -eq 0 ]] || estimate_storage "${stored[@]}"
  for subset in "${stored[@]}" "${dev[@]}" "${test[@]}"; do
    split_job featurize featurize."$subset" "$data/$subset.jsonl" "$data/$subset.feats.jsonl" \
      ds2 featurize "${if_stale[@]}" {in} {out} --dir "$data/feats/$subset" --compress "${kind[@]}" "${parallel[@]}"
  done
  rows_of "$data" "${train_rows#"$data/train"}" "${train[@]}"
  job prepare combine.train ds2 data combine "${if_stale[@]}" "${_rows[@]}" "$train_rows"
  rows_of "$data" .feats.jsonl "${dev[@]}"
  job prepare combine.dev ds2 data combine "${if_stale[@]}" "${_rows[@]}" "$data/dev.feats.jsonl"
fi
if begin_stage 3 "noise and rooms"; then
  prepare_noise
fi
if begin_stage 4 "language models"; then
  rows_of "$data" .jsonl "${train[@]}"
  for one in "$lm" "$rescore"; do
    case $one in
      [34]-gram | 3-gram.pruned.1e-7) job lm "lm.$one" local/lower_arpa.sh "corpus/lm/$one.arpa.gz" "$(model "$one")" ;;
      transcripts)
        job lm lm.transcripts ds2 lm "${if_stale[@]}" "${_rows[@]}" "$(model "$one")" --dev "$data/${dev[0]}.jsonl" --config conf/lm.transcripts.toml ;;
      own)
        published=(corpus/lm/librispeech-lm-norm.txt.gz); [[ $mini == false ]] || published=()
        job lm lm.own ds2 lm "${if_stale[@]}" "${_rows[@]}" "${published[@]}" "${text[@]}" "$(model "$one")" \
          --dev "$data/${dev[0]}.jsonl" --config conf/lm.own.toml --memory "${lm_memory:-32G}" ;;
    esac
    [[ $one != "$rescore" ]] || break
  done
fi
if begin_stage 5 "train the network"; then
  [[ $on_the_fly == false || -n $readers ]] || readers=4
  how=(); [[ -z $readers ]] || how+=(--readers "$readers")
  [[ $on_the_fly == false || $features == spectrogram ]] || how+=(--features conf/featurize.fbank.toml)
  start=(ds2 train); [[ -n $nodes ]] || how+=(--nproc "$nproc")
  if [[ -n $nodes ]]; then start=($root/utils/torchrun.sh --nproc "$nproc" ds2 train); train_job="--nodes $nodes $train_job"; fi
  estimate_training "${train[@]}"
  job train train "${start[@]}" "${if_stale[@]}" "$train_rows" "$exp" --dev "$data/dev.feats.jsonl" "${network[@]}" "${augment[@]}" "${how[@]}" --seed "$seed"
fi
if begin_stage 6 "average the best epochs"; then
  [[ $average == false ]] || job prepare average $root/steps/average.sh "$exp" "$recognizer"
fi
if begin_stage 7 "emissions"; then
  estimate_emission "${dev[@]}" "${test[@]}"
  for subset in "${dev[@]}" "${test[@]}"; do
    split_job emit emit."$subset" "$data/$subset.feats.jsonl" "$exp/$subset.emit.jsonl" \
      ds2 emit "${if_stale[@]}" "$recognizer" {in} {out} --dir "$exp/emissions/$subset"
  done
  rows_of "$exp" .emit.jsonl "${dev[@]}"
  job prepare combine.emit ds2 data combine "${if_stale[@]}" "${_rows[@]}" "$exp/dev.emit.jsonl"
fi
if begin_stage 8 "tune the search weights on dev"; then
  job tune tune ds2 decode "${if_stale[@]}" "$recognizer" "$exp/dev.emit.jsonl" --tune --lm "$lm_file" "${parallel[@]}"
fi
if begin_stage 9 "decode without and with the language model"; then
  for subset in "${dev[@]}" "${test[@]}"; do
    split_job decode decode."$subset".greedy "$exp/$subset.emit.jsonl" "$exp/$subset.greedy.jsonl" ds2 decode "${if_stale[@]}" "$recognizer" {in} {out} --greedy
    split_job decode decode."$subset".lm "$exp/$subset.emit.jsonl" "$exp/$subset.lm.jsonl" \
      ds2 decode "${if_stale[@]}" "$recognizer" {in} {out} --lm "$lm_file" --config conf/decode.toml "${parallel[@]}"
  done
fi
if begin_stage 10 "a second pass: search the same emissions with the other model, with weights of its own"; then
  if [[ $rescore != none ]]; then
    job prepare rescore.copy local/copy_network.sh "$recognizer" "$exp/rescore"
    job tune rescore.tune ds2 decode "${if_stale[@]}" "$exp/rescore" "$exp/dev.emit.jsonl" --tune --lm "$rescore_file" "${parallel[@]}"
    for subset in "${dev[@]}" "${test[@]}"; do
      split_job decode decode."$subset".rescored "$exp/$subset.emit.jsonl" "$exp/$subset.rescored.jsonl" \
        ds2 decode "${if_stale[@]}" "$exp/rescore" {in} {out} --lm "$rescore_file" --config conf/decode.toml "${parallel[@]}"
    done
  fi
fi
if begin_stage 11 "word and character error rates, with certificates"; then
  for subset in "${dev[@]}" "${test[@]}"; do
    for pass in greedy "${passes[@]}"; do
      say "$subset, $pass:"
      job_to "$exp/$subset.$pass.wer" score score."$subset.$pass" \
        ds2 score "$exp/$subset.$pass.jsonl" "$exp/$subset.$pass.scored.jsonl" --unit both --json "$exp/$subset.$pass.json"
    done
  done
fi
if begin_stage 12 "report"; then
  job_to "$exp/RESULTS.md" score report local/report.py "$exp" --sets "${dev[*]} ${test[*]}" --passes "greedy ${passes[*]}" \
    --models "lm=$lm rescored=$rescore" --full "$full"
fi

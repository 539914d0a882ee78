#!/usr/bin/env bash
# Deep Speech 2 on LibriSpeech: the network of the paper (conf/ds2.toml), or a small one on a few utterances (--mini true).
set -euo pipefail
caller=$PWD; cd "$(dirname "$0")"; root=../..
stage=0; stop_stage=7; nj=; nproc=1; mini=false; resume=false; corpus_dir=${LIBRISPEECH:-}; conf=; exp=; data=; text=; lm=
train="train-clean-100 train-clean-360 train-other-500"; dev="dev-clean dev-other"; test="test-clean test-other"
help="usage: egs/librispeech/run.sh --corpus-dir LibriSpeech [--stage 0] [--stop-stage 7] [--nj CORES] [--nproc 1] [--conf conf/ds2.toml]
                               [--exp exp/ds2] [--data data/ds2] [--train 'SUBSET…'] [--dev 'SUBSET…'] [--test 'SUBSET…']
                               [--text 'FILE…']   (more text for the language model, such as librispeech-lm-norm.txt.gz)
                               [--mini true]      (a small network on a few utterances, in minutes)
                               [--resume true]    (make only what is not fresh: see ds2 status)
stages: 0 prepare  1 featurize  2 lm  3 train  4 emit  5 tune  6 decode  7 score"
. $root/utils/options.sh
if_stale=(); [[ $resume == false ]] || if_stale=(--if-stale)
. $root/utils/path.sh
. $root/utils/cores.sh; nj=${nj:-$cores}
begin_stage() { [[ $stage -le $1 && $stop_stage -ge $1 ]] && echo "== stage $1: $2" >&2; }
name=ds2
if [[ $mini == true ]]; then
  name=mini; train=train-clean-100; dev=dev-clean; test="test-clean test-other"
  corpus_dir=${corpus_dir:-$(cd $root && pwd)/../shared/data/LibriSpeech}
fi
conf=${conf:-conf/$name.toml}; exp=${exp:-exp/$name}; data=${data:-data/$name}
[[ -z $corpus_dir || $corpus_dir == /* ]] || corpus_dir=$caller/$corpus_dir
[[ -d $corpus_dir ]] || { echo "egs/librispeech/run.sh: no LibriSpeech folder at '$corpus_dir' (--corpus-dir FOLDER, or LIBRISPEECH=FOLDER)" >&2; exit 2; }

if begin_stage 0 "manifests of the subsets"; then
  for subset in $train $dev $test; do
    ds2 prepare librispeech "${if_stale[@]}" "$corpus_dir" "$data/$subset.jsonl" --part "$subset" --nj "$nj"
  done
fi
if begin_stage 1 "log power spectrograms"; then
  for subset in $train $dev $test; do
    ds2 featurize "${if_stale[@]}" "$data/$subset.jsonl" "$data/$subset.feats.jsonl" --dir "$data/feats/$subset" --nj "$nj" --compress
  done
  for side in train dev; do
    # shellcheck disable=SC2086
    ds2 data combine "${if_stale[@]}" $(for subset in ${!side}; do echo "$data/$subset.feats.jsonl"; done) "$data/$side.feats.jsonl"
  done
fi
if begin_stage 2 "language model"; then
  # shellcheck disable=SC2046,SC2086
  ds2 lm "${if_stale[@]}" $(for subset in $train; do echo "$data/$subset.jsonl"; done) $text "$exp/lm.arpa" --dev "$data/${dev%% *}.jsonl" --config conf/lm.toml
  lm=$exp/lm.arpa
fi
lm=${lm:-$exp/lm.arpa}
if begin_stage 3 "train the network"; then
  ds2 train "${if_stale[@]}" "$data/train.feats.jsonl" "$exp" --dev "$data/dev.feats.jsonl" --config "$conf" --nproc "$nproc"
fi
if begin_stage 4 "emissions of dev and the test subsets"; then
  for subset in dev $test; do
    ds2 emit "${if_stale[@]}" "$exp" "$data/$subset.feats.jsonl" "$exp/$subset.emit.jsonl" --dir "$exp/emissions/$subset"
  done
fi
if begin_stage 5 "tune the search weights on dev"; then
  ds2 decode "${if_stale[@]}" "$exp" "$exp/dev.emit.jsonl" --tune --lm "$lm" --nj "$nj"
fi
if begin_stage 6 "decode without and with the language model"; then
  for subset in $test; do
    ds2 decode "${if_stale[@]}" "$exp" "$exp/$subset.emit.jsonl" "$exp/$subset.greedy.jsonl" --greedy
    ds2 decode "${if_stale[@]}" "$exp" "$exp/$subset.emit.jsonl" "$exp/$subset.lm.jsonl" --lm "$lm" --nj "$nj"
  done
fi
if begin_stage 7 "word and character error rates"; then
  for subset in $test; do
    for kind in greedy lm; do
      echo "$subset, $kind:"
      ds2 score "$exp/$subset.$kind.jsonl" "$exp/$subset.$kind.scored.jsonl" --unit both | tee "$exp/$subset.$kind.wer"
    done
  done
fi

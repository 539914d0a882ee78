#!/usr/bin/env bash
# Deep Speech 2 on the telephone prompts of Asterisk (24 minutes, one speaker): from Debian packages to word error rates.
set -euo pipefail
caller=$PWD; cd "$(dirname "$0")"; root=../..
lang=en; conf=conf/train.toml; seed=0; features=; exp=; data=; corpus=; more=; text=
help="usage: egs/asterisk/run.sh [--stage 0] [--stop-stage 9] [--nj CORES] [--lang en|es|fr|it|ru] [--conf conf/train.toml] [--seed 0]
                            [--features conf/featurize.fbank.toml]   (other features, in exp/LANG-fbank and data/LANG-fbank)
                            [--exp exp/LANG] [--data data/LANG] [--corpus FOLDER]   (use these recordings instead of fetching them)
                            [--more 'ROWS…']  (manifests of ds2 prepare: further recordings of the language to train on, and their texts for the language model)
                            [--text 'FILE…']  (further text for the language model; its share is tuned on dev)
                            [--resume true]   (make only what is not fresh: see ds2 status)
                            [--cmd \"utils/slurm.sh --partition NAME\"] [--dry-run true]   (see cmd.sh)
stages: 0 fetch  1 prepare  2 featurize  3 lm  4 train  5 emit  6 tune  7 decode  8 score  9 align"
. ./cmd.sh
. $root/utils/recipe.sh
name=$(basename "$features" .toml); suffix=${features:+-${name#featurize.}}
exp=${exp:-exp/$lang$suffix}; data=${data:-data/$lang$suffix}
[[ -z $corpus || $corpus == /* ]] || corpus=$caller/$corpus
read -ra more <<<"$more"; read -ra text <<<"$text"
for i in "${!more[@]}"; do more[i]=$(from_caller "${more[i]}"); done
for i in "${!text[@]}"; do text[i]=$(from_caller "${text[i]}"); done
train=$data/train.feats.jsonl; [[ ${#more[@]} -eq 0 ]] || train=$data/train.more.feats.jsonl
download=--no-download; [[ -n $corpus ]] || { corpus=corpus/$lang; download=--download; }

if begin_stage 0 "fetch the recordings and transcripts"; then
  job prepare fetch ds2 prepare asterisk "${if_stale[@]}" "$corpus" "$data/all.jsonl" --lang "$lang" $download
fi
if begin_stage 1 "one manifest per part; identical texts stay in one part"; then
  for part in train dev test; do
    job prepare prepare."$part" ds2 prepare asterisk "${if_stale[@]}" "$corpus" "$data/$part.jsonl" --lang "$lang" --part $part
  done
  job_to "$data/train.stats" prepare stats ds2 data stats "$data/train.jsonl"
fi
if begin_stage 2 "features; the training part at several speeds"; then
  for part in train dev test; do
    speeds=(); [[ $part != train ]] || speeds=(--config conf/featurize.train.toml)
    split_job prepare featurize."$part" "$data/$part.jsonl" "$data/$part.feats.jsonl" \
      ds2 featurize "${if_stale[@]}" {in} {out} --dir "$data/feats/$part" "${parallel[@]}" "${speeds[@]}" ${features:+--config "$features"}
  done
  further=()
  for i in "${!more[@]}"; do
    further+=("$data/more.$i.feats.jsonl")
    split_job prepare featurize.more."$i" "${more[i]}" "${further[-1]}" \
      ds2 featurize "${if_stale[@]}" {in} {out} --dir "$data/feats/more" "${parallel[@]}" ${features:+--config "$features"}
  done
  [[ ${#more[@]} -eq 0 ]] || job prepare combine ds2 data combine "${if_stale[@]}" "$data/train.feats.jsonl" "${further[@]}" "$train"
fi
if begin_stage 3 "language model from the training transcripts"; then
  prompts=$exp/lm.arpa; [[ ${#more[@]}${#text[@]} == 00 ]] || prompts=$exp/lm.prompts.arpa
  job prepare lm ds2 lm "${if_stale[@]}" "$data/train.jsonl" "$prompts" --dev "$data/dev.jsonl" --config conf/lm.toml
  if [[ $prompts != "$exp/lm.arpa" ]]; then
    job prepare lm.more ds2 lm "${if_stale[@]}" "${more[@]}" "${text[@]}" "$exp/lm.more.arpa" --dev "$data/dev.jsonl" --config conf/lm.toml --max-bad 20
    job prepare lm.mix ds2 lm mix "$prompts" "$exp/lm.more.arpa" "$exp/lm.arpa" --dev "$data/dev.jsonl"
  fi
fi
if begin_stage 4 "train the network"; then
  job train train ds2 train "${if_stale[@]}" "$train" "$exp" --dev "$data/dev.feats.jsonl" --config "$conf" --seed "$seed"
fi
if begin_stage 5 "emissions of the dev and test parts"; then
  for part in dev test; do
    split_job emit emit."$part" "$data/$part.feats.jsonl" "$exp/$part.emit.jsonl" \
      ds2 emit "${if_stale[@]}" "$exp" {in} {out} --dir "$exp/emissions/$part"
  done
fi
if begin_stage 6 "tune the search weights on dev"; then
  job decode tune ds2 decode "${if_stale[@]}" "$exp" "$exp/dev.emit.jsonl" --tune --lm "$exp/lm.arpa" "${parallel[@]}"
fi
if begin_stage 7 "decode without and with the language model"; then
  for part in dev test; do
    split_job decode decode."$part".greedy "$exp/$part.emit.jsonl" "$exp/$part.greedy.jsonl" ds2 decode "${if_stale[@]}" "$exp" {in} {out} --greedy
    split_job decode decode."$part".lm "$exp/$part.emit.jsonl" "$exp/$part.lm.jsonl" \
      ds2 decode "${if_stale[@]}" "$exp" {in} {out} --lm "$exp/lm.arpa" "${parallel[@]}" --nbest 5 --timestamps
  done
fi
if begin_stage 8 "word and character error rates; causes of the errors on dev; the gain by the language model"; then
  say "dev, greedy:"
  job_to "$exp/dev.greedy.wer" decode score.dev.greedy ds2 score "$exp/dev.greedy.jsonl" "$exp/dev.greedy.scored.jsonl" --unit both
  say "dev, lm:"  # causes on dev only: they lead to tuning, and test is not for tuning
  job_to "$exp/dev.lm.why" decode score.dev ds2 score "$exp/dev.lm.jsonl" "$exp/dev.lm.scored.jsonl" --why "$exp" "${parallel[@]}"
  for kind in greedy lm; do
    say "test, $kind:"
    job_to "$exp/test.$kind.wer" decode score.test.$kind ds2 score "$exp/test.$kind.jsonl" "$exp/test.$kind.scored.jsonl" --unit both
  done
  say "test, is the gain by the language model real?"
  job_to "$exp/test.compare" decode compare.test ds2 score --compare "$exp/test.greedy.jsonl" "$exp/test.lm.jsonl"
fi
if begin_stage 9 "word times of the dev part (CTM)"; then
  job decode align ds2 align "${if_stale[@]}" "$exp" "$exp/dev.emit.jsonl" "$exp/dev.align.jsonl" --ctm "$exp/dev.ctm"
  [[ $dry_run == true ]] || head -n 5 "$exp/dev.ctm" >&2
fi

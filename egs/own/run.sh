#!/usr/bin/env bash
# Your own recordings, from a folder or a table to a network, its error rates, and a verdict on whether it has learned.
set -euo pipefail
caller=$PWD; cd "$(dirname "$0")"; root=../..
audio=; rows=; dev=; test=; lang=en; text_rules=letters; numbers=; remove_tags=; speaker=auto; prepare_options=; max_bad=50
text=; init=; conf=; seed=0; transcribe=; name=; exp=; data=
help="usage: egs/own/run.sh --audio FOLDER|TABLE [--stage 0] [--stop-stage 12] [--nj CORES]
                     FOLDER has recordings, each beside a text file (a.wav, a.txt); TABLE is CSV, TSV or JSON (ds2 prepare csv --help)
       egs/own/run.sh --rows TRAIN.jsonl [--dev DEV.jsonl] [--test TEST.jsonl]   (manifests, with features or without; without --dev, TRAIN is split)
  texts     [--lang en] [--text-rules letters] [--numbers spell] [--remove-tags 'laughter, noise']   (ds2 prepare folder --help)
            [--text 'FILE…']            (more text for the language model)
  speakers  [--speaker auto|none|folder|REGEX]   (auto: subfolders, if all recordings are in some; a table has a column)
  table     [--prepare-options '--audio-column path --text-column sentence']
  training  [--init EXP]                (start from this network)   [--conf FILE]   (settings that replace recommended ones)   [--seed 0]
  results   [--transcribe 'FILE…']      (recordings to transcribe; the first ones of dev otherwise)
            [--name NAME] [--exp exp/NAME] [--data data/NAME]       (in egs/own unless absolute)
            [--max-bad 50]              (percent of the recordings that may be unusable)
            [--resume true]             (make only what is not fresh: see ds2 status)
            [--cmd \"utils/slurm.sh --partition NAME\"] [--dry-run true]   (see cmd.sh)
stages: 0 look  1 check  2 split  3 recommend  4 featurize  5 lm  6 train  7 emit  8 tune  9 decode  10 score  11 transcribe  12 report"
. ./cmd.sh
. $root/utils/recipe.sh
[[ -n $audio || -n $rows ]] || refuse "no recordings: expected --audio FOLDER, --audio TABLE or --rows TRAIN.jsonl (--help lists the options)"
[[ -z $audio || -z $rows ]] || refuse "--audio and --rows: expected one of them"
[[ -n $rows || -z $dev$test ]] || refuse "--dev and --test only apply with --rows"
[[ -z $test || -n $dev ]] || refuse "--test needs --dev"
[[ -z $rows || $speaker$prepare_options == auto ]] || refuse "--speaker and --prepare-options only apply with --audio: manifests have speakers"
source=${audio:-$rows}
[[ -n $name ]] || { name=$(basename "$source"); name=${name%.*}; name=${name//[^[:alnum:]_.-]/_}; }
exp=${exp:-exp/$name}; data=${data:-data/$name}
for path in audio rows dev test init; do
  [[ -z ${!path} ]] || printf -v "$path" %s "$(from_caller "${!path}")"
  [[ -z ${!path} || $path == init || -e ${!path} ]] || refuse "--$path ${!path}: no such file or folder"
done
conf=$(from_caller "$conf")
# shellcheck disable=SC2206
{ texts=($text); recordings=($transcribe); further=($prepare_options); }
for i in "${!texts[@]}"; do texts[i]=$(from_caller "${texts[i]}"); done
for i in "${!recordings[@]}"; do recordings[i]=$(from_caller "${recordings[i]}"); done
bad=(--max-bad "$max_bad")
rules=(--lang "$lang" --text-rules "$text_rules")
parts() { if [[ -n $rows ]]; then echo train dev ${test:+test}; [[ -n $dev ]] || echo test; else echo train dev test; fi; }
has_test() { [[ -z $dev || -n $test ]]; }
has_features() { grep -q '"feats"' <(head -n 1 "$1" 2>/dev/null); }

normalization=("${rules[@]}" ${numbers:+--numbers "$numbers"} ${remove_tags:+--remove-tags "$remove_tags"})
take_rows() {  # NAME IN OUT: order, ids and texts are repaired; recordings of rows with features may be elsewhere, which fix would drop
  if has_features "$2"; then
    job prepare rows."$1" ds2 data sort "${if_stale[@]}" "$2" "$3" "${bad[@]}"
  else
    job prepare rows."$1" ds2 data fix "$2" "$3" --audio header "${normalization[@]}" "${bad[@]}"
  fi
}

if begin_stage 0 "look at the recordings: what there is, and what to expect"; then
  if [[ -n $rows && -n $dev ]]; then
    for part in $(parts); do take_rows "$part" "$([[ $part == train ]] && echo "$rows" || echo "${!part}")" "$data/$part.jsonl"; done
    job_to "$data/train.look" prepare look ds2 recommend "$data/train.jsonl" ${init:+--init "$init"}
  else
    if [[ -n $rows ]]; then
      take_rows all "$rows" "$data/all.jsonl"
    else
      if [[ -d $audio ]]; then
        rule=$(python3 local/speakers.py "$audio" "$speaker")
        corpus=(folder "$audio" "$data/all.jsonl" ${rule:+--speaker "$rule"})
      else
        [[ $speaker == auto || $speaker == none ]] || refuse "--speaker $speaker is for folders: a table has a column (--prepare-options '--speaker-column NAME')"
        corpus=(csv "$audio" "$data/all.jsonl")
      fi
      job prepare prepare ds2 prepare "${corpus[@]}" "${normalization[@]}" "${further[@]}" "${bad[@]}" "${if_stale[@]}" "${parallel[@]}"
    fi
    job_to "$data/all.look" prepare look ds2 recommend "$data/all.jsonl" ${init:+--init "$init"}
  fi
fi
if begin_stage 1 "check recordings and texts; leave out the utterances with faults"; then
  for part in $(if [[ -n $rows && -n $dev ]]; then parts; else echo all; fi); do
    checks=(--ignore duplicate-text)
    # the recordings of rows with features may be elsewhere
    ! has_features "$data/$part.jsonl" || checks=(--ignore duplicate-text,missing-audio --needs id,text)
    # status 3: there are faults
    # shellcheck disable=SC2016
    job prepare check."$part" bash -c '"$@" || [[ $? -eq 3 ]]' validate \
      ds2 data validate "$data/$part.jsonl" --report "$data/$part.faults.jsonl" "${checks[@]}" "${rules[@]}" "${parallel[@]}"
    job prepare faults."$part" python3 local/faulty_ids.py "$data/$part.faults.jsonl" "$data/$part.faulty"
    job prepare good."$part" ds2 data subset "${if_stale[@]}" "$data/$part.jsonl" "$data/$part.good.jsonl" --without "$data/$part.faulty" "${bad[@]}"
  done
fi
if begin_stage 2 "training, dev and test sets"; then
  if [[ -n $rows && -n $dev ]]; then
    say "training and dev sets as given${test:+, and a test set}"
    # status 1: something is in two sets, which is printed; it may be meant so
    # shellcheck disable=SC2016
    job_to "$data/overlap.txt" prepare overlap bash -c '"$@" || [[ $? -eq 1 ]]' overlap ds2 data overlap "$data"/train.good.jsonl "$data/dev.good.jsonl" ${test:+"$data/test.good.jsonl"}
  elif [[ $dry_run == true ]]; then
    echo "# ds2 data split $data/all.good.jsonl $data/part.JOB.jsonl --by speaker|text|duration, whichever ds2 recommend chooses; the last part is dev, the one before it test"
  else
    ds2 recommend "$data/all.good.jsonl" --json >"$data/all.json"
    read -r by number < <(python3 -c 'import json, sys; s = json.load(open(sys.argv[1]))["split"]; print(s["by"], s["parts"]); print("split:", s["reason"], file=sys.stderr)' "$data/all.json")
    # not as a job: JOB would be the number of the job
    ds2 data split "$data/all.good.jsonl" "$data/part.JOB.jsonl" --parts "$number" --by "$by"
    training=(); for ((i = 1; i <= number - 2; i++)); do training+=("$data/part.$i.jsonl"); done
    job prepare combine.train ds2 data combine "${if_stale[@]}" "${training[@]}" "$data/train.good.jsonl"
    job prepare combine.test ds2 data combine "${if_stale[@]}" "$data/part.$((number - 1)).jsonl" "$data/test.good.jsonl"
    job prepare combine.dev ds2 data combine "${if_stale[@]}" "$data/part.$number.jsonl" "$data/dev.good.jsonl"
  fi
fi
if begin_stage 3 "settings that suit the training set"; then
  job_to "$exp/recommend.txt" prepare recommend ds2 recommend "$data/train.good.jsonl" "$exp/train.toml" ${init:+--init "$init"}
fi
if begin_stage 4 "features"; then
  # at the sample rate of telephones, or those of the network that the training starts from
  found=
  [[ $dry_run == true ]] || found=$(ds2 recommend "$data/train.good.jsonl" ${init:+--init "$init"} --json | python3 -c 'import json, sys
for name, value in json.load(sys.stdin)["features"].items(): print(f"--set={name}=" + (value if isinstance(value, str) else json.dumps(value)))')
  settings=(); [[ -z $found ]] || mapfile -t settings <<<"$found"
  for part in $(parts); do
    if has_features "$data/$part.good.jsonl"; then
      job prepare featurize."$part" ds2 data sort "${if_stale[@]}" "$data/$part.good.jsonl" "$data/$part.feats.jsonl"
    else
      split_job prepare featurize."$part" "$data/$part.good.jsonl" "$data/$part.feats.jsonl" \
        ds2 featurize "${if_stale[@]}" {in} {out} --dir "$data/feats/$part" "${settings[@]}" "${parallel[@]}" "${bad[@]}"
    fi
  done
fi
if begin_stage 5 "language model from the training transcripts${texts[*]:+ and ${texts[*]}}"; then
  kind=(--order 3)
  [[ $dry_run == true || $(python3 local/lm_unit.py "$data/train.good.jsonl" "$data/dev.good.jsonl" "${#texts[@]}") == word ]] || kind=(--order 6 --unit char)
  job prepare lm ds2 lm "${if_stale[@]}" "$data/train.good.jsonl" "${texts[@]}" "$exp/lm.arpa" --dev "$data/dev.good.jsonl" --lang "$lang" "${kind[@]}"
fi
training=("$data/train.feats.jsonl" --dev "$data/dev.feats.jsonl" --config "$exp/train.toml" ${conf:+--config "$conf"} --seed "$seed" "${bad[@]}")
if begin_stage 6 "train the network"; then
  [[ $dry_run == true || -s $exp/best.safetensors ]] || job train plan ds2 plan "${training[@]}"
  job train train ds2 train "${if_stale[@]}" "$data/train.feats.jsonl" "$exp" "${training[@]:1}"
fi
sets="dev"; ! has_test || sets="dev test"
if begin_stage 7 "emissions of $sets"; then
  for part in $sets; do
    split_job emit emit."$part" "$data/$part.feats.jsonl" "$exp/$part.emit.jsonl" \
      ds2 emit "${if_stale[@]}" "$exp" {in} {out} --dir "$exp/emissions/$part" "${bad[@]}"
  done
fi
if begin_stage 8 "tune the search weights on dev"; then
  job decode tune ds2 decode "${if_stale[@]}" "$exp" "$exp/dev.emit.jsonl" --tune --lm "$exp/lm.arpa" "${parallel[@]}"
fi
if begin_stage 9 "decode without and with the language model"; then
  for part in $sets; do
    split_job decode decode."$part".greedy "$exp/$part.emit.jsonl" "$exp/$part.greedy.jsonl" ds2 decode "${if_stale[@]}" "$exp" {in} {out} --greedy
    split_job decode decode."$part".lm "$exp/$part.emit.jsonl" "$exp/$part.lm.jsonl" \
      ds2 decode "${if_stale[@]}" "$exp" {in} {out} --lm "$exp/lm.arpa" "${parallel[@]}" --timestamps
  done
fi
if begin_stage 10 "word and character error rates"; then
  for part in $sets; do
    for kind in greedy lm; do
      say "$part, $kind:"
      job_to "$exp/$part.$kind.wer" decode score."$part".$kind ds2 score "$exp/$part.$kind.jsonl" "$exp/$part.$kind.scored.jsonl" --unit both
    done
  done
fi
if begin_stage 11 "transcribe recordings"; then
  if [[ ${#recordings[@]} -eq 0 && -s $data/dev.good.jsonl ]]; then
    mapfile -t recordings < <(python3 local/recordings.py "$data/dev.good.jsonl" 3)
  fi
  if [[ ${#recordings[@]} -gt 0 ]]; then
    job_to "$exp/transcribed.txt" emit transcribe ds2 transcribe "$exp" "${recordings[@]}" --lm "$exp/lm.arpa"
  else
    say "no recordings here to transcribe: ds2 transcribe $exp FILE… --lm $exp/lm.arpa"
  fi
fi
if begin_stage 12 "report: has the network learned?"; then
  job_to "$exp/report.md" decode report python3 local/report.py "$exp" "$data"
fi

# Source this file in a recipe, after utils/noise.sh and after $data, $exp, $kind, $conf, $net, $mini, $on_the_fly, $train, $nproc, $nodes, $average and $beam are
# set: stages of recipes whose parts are train, dev and test.
#   featurize_parts          features; stored ones of the training part at three speeds
#   train_network OPTION…    trains on $train with the network of --net or --conf and further options; ${planned[@]} is what `ds2 plan` is asked in a dry run
#   average_network          averages the best epochs into $network, if --average is true
#   emit_parts, tune_weights, search_parts    of dev and test with $network, and the model $lm
network=$exp; [[ $average == false ]] || network=$exp/average

featurize_parts() {
  local part speeds
  for part in train dev test; do
    [[ $part != train || $on_the_fly == false ]] || continue
    speeds=(); [[ $part != train ]] || speeds=(--config conf/featurize.train.toml)
    split_job featurize featurize.$part "$data/$part.jsonl" "$data/$part.feats.jsonl" \
      ds2 featurize "${if_stale[@]}" {in} {out} --dir "$data/feats/$part" --compress "${parallel[@]}" --config "$kind" "${speeds[@]}"
  done
}

train_network() {  # OPTION… of ds2 train
  local settings=(--config "${conf:-conf/ds2.toml}") start=(ds2 train)
  [[ -z $net ]] || settings=(--config "$net" --config conf/train.toml)
  [[ -z $net || $mini == false ]] || settings+=(--set precision=float32)
  [[ $on_the_fly == false ]] || settings+=(--features "$kind" --config conf/on_the_fly.toml)
  settings+=("${augment[@]}" "$@")
  [[ -z $gpu ]] || estimate "${planned[@]}" --gpu "$gpu" "${settings[@]}" --nproc $((nproc * ${nodes:-1}))
  if [[ -n $nodes ]]; then
    start=($root/utils/torchrun.sh --nproc "$nproc" ds2 train); train_job="--nodes $nodes $train_job"
  else
    settings+=(--nproc "$nproc")
  fi
  job train train "${start[@]}" "${if_stale[@]}" "$train" "$exp" --dev "$data/dev.feats.jsonl" "${settings[@]}"
}

average_network() {
  [[ $average == false ]] || job score average $root/steps/average.sh "$exp" "$network"
}

emit_parts() {
  local part
  for part in dev test; do
    split_job emit emit.$part "$data/$part.feats.jsonl" "$exp/$part.emit.jsonl" \
      ds2 emit "${if_stale[@]}" "$network" {in} {out} --dir "$exp/emissions/$part"
  done
}

tune_weights() {
  job prepare tune.subset ds2 data subset "${if_stale[@]}" "$exp/dev.emit.jsonl" "$exp/dev.tune.jsonl" --random 2000
  job tune tune ds2 decode "${if_stale[@]}" "$network" "$exp/dev.tune.jsonl" --tune --lm "$lm" "${parallel[@]}"
}

search_parts() {
  local part
  for part in dev test; do
    split_job decode decode.$part.greedy "$exp/$part.emit.jsonl" "$exp/$part.greedy.jsonl" ds2 decode "${if_stale[@]}" "$network" {in} {out} --greedy
    split_job decode decode.$part.lm "$exp/$part.emit.jsonl" "$exp/$part.lm.jsonl" \
      ds2 decode "${if_stale[@]}" "$network" {in} {out} --lm "$lm" --config conf/decode.toml ${beam:+--beam "$beam"} "${parallel[@]}"
  done
}

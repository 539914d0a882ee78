# Sourced by run.sh: hours and utterances of the subsets, and what follows from them before there are any data.
# Hours: Panayotov et al., ICASSP 2015, table 1; utterances: as the transcripts of OpenSLR 12 have.
declare -A hours=([train-clean-100]=100.6 [train-clean-360]=363.6 [train-other-500]=496.7 [dev-clean]=5.4 [dev-other]=5.3 [test-clean]=5.4 [test-other]=5.1)
declare -A utterances=([train-clean-100]=28539 [train-clean-360]=104014 [train-other-500]=148688 [dev-clean]=2703 [dev-other]=2864
  [test-clean]=2620 [test-other]=2939)
# of the small corpus of --mini true
mini_figures() {
  hours=([train-clean-100]=0.77 [dev-clean]=0.017 [test-clean]=0.007 [test-other]=0.1)
  utterances=([train-clean-100]=266 [dev-clean]=7 [test-clean]=4 [test-other]=50)
}

sizes_of() {  # SUBSET…  →  the options of ds2 plan
  local subset sum=0 count=0
  for subset in "$@"; do
    sum=$(awk -v a="$sum" -v b="${hours[$subset]:-0}" 'BEGIN { print a + b }'); count=$((count + ${utterances[$subset]:-0}))
  done
  _sizes=(--hours "$sum" --utterances "$count")
}
full_sizes() { local subset text=; for subset in {dev,test}-{clean,other}; do text+=" $subset=${utterances[$subset]}"; done; echo "${text# }"; }

estimate_network() {  # OPTION… of ds2 plan
  # how many bigrams there are is known from the texts: 586 in those of train-clean-100, blank and space included
  local symbols=()
  if ds2 train --print-config "${network[@]}" 2>/dev/null | grep -q '^kind = "bigram"'; then symbols=(--symbols 650); fi
  estimate --gpu "$gpu" "${network[@]}" "${symbols[@]}" "$@"
}
estimate_training() {  # SUBSET…
  [[ $dry_run == true ]] || return 0
  sizes_of "$@"
  echo "# estimate for $((nproc * ${nodes:-1})) x $gpu:"
  estimate_network --nproc $((nproc * ${nodes:-1})) "${_sizes[@]}"
}
estimate_emission() {  # SUBSET…
  [[ $dry_run == true ]] || return 0
  sizes_of "$@"
  echo "# on one $gpu, less than an epoch of training on the same utterances takes:"
  estimate_network "${_sizes[@]}" --epochs 1 | grep -E '^# +(data|time|no estimate)'
}
estimate_storage() {  # SUBSET…
  [[ $dry_run == true ]] || return 0
  sizes_of "$@"
  echo "# estimate of the disk space, for spectrograms (filter banks take half):"
  estimate_network "${_sizes[@]}" | grep -E '^# +(data|disk|no estimate)'
}

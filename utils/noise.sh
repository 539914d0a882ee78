# Source this file in a recipe, after utils/recipe.sh and after $data, $musan and $rirs are set: what recipes share to mix noise into recordings of the
# training part, and to add reverberation. $musan and $rirs are folders of MUSAN and RIRS_NOISES, or of any recordings; empty: without.
#   download_noise    downloads the corpora whose folders do not exist
#   prepare_noise     writes $data/noise.jsonl and $data/rooms.jsonl
# ${augment[@]} are the options of ds2 train that use them.
augment=()
[[ -z $musan ]] || augment+=(--set augment.noise="$data/noise.jsonl")
[[ -z $rirs ]] || augment+=(--set augment.rir="$data/rooms.jsonl")

# here, also with --cmd: nodes of a cluster often have no access to the Internet
download_noise() {
  [[ -z $musan || -d $musan ]] || cmd= job prepare download.musan ds2 prepare musan "$musan" "$data/noise.jsonl" --split train --check header --download
  [[ -z $rirs || -d $rirs ]] || cmd= job prepare download.rirs ds2 prepare rirs_noises "$rirs" "$data/rooms.jsonl" --split train --check header --download
}

prepare_noise() {
  local from
  if [[ -n $musan ]]; then
    from=(musan --split train); [[ ! -d $musan || -d $musan/noise ]] || from=(folder --no-text)
    job prepare noise ds2 prepare "${from[0]}" "${if_stale[@]}" "$musan" "$data/noise.jsonl" "${from[@]:1}" "${parallel[@]}"
  fi
  if [[ -n $rirs ]]; then
    from=(rirs_noises --split train); [[ ! -d $rirs || -d $rirs/simulated_rirs || -d $rirs/real_rirs_isotropic_noises ]] || from=(folder --no-text)
    job prepare rooms ds2 prepare "${from[0]}" "${if_stale[@]}" "$rirs" "$data/rooms.jsonl" "${from[@]:1}" "${parallel[@]}"
  fi
}

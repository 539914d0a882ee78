# How the jobs of this recipe run: empty is here, one after the other; "utils/slurm.sh --partition NAME" submits each to a cluster (or --cmd).
cmd=
# What each kind of job asks for there; see utils/slurm.sh --help. For more than some hours of speech, give training a GPU: --gpu 1.
prepare_job="--mem 2G --num-threads 2 --time 4:00:00"
train_job="--mem 8G --num-threads 2 --time 24:00:00"
emit_job="--mem 4G --num-threads 1 --time 4:00:00"
decode_job="--mem 4G --num-threads 1 --time 4:00:00"

# How the jobs of this recipe run: empty is here, --nj runs at a time; "utils/slurm.sh --partition NAME" submits each to a cluster (or --cmd).
cmd=
# What each kind of job asks for there; see utils/slurm.sh --help. full: a run of --scale full; NPROC is --nproc.
prepare_job="--mem 2G --num-threads 2 --time 1:00:00"
train_job="--mem 2G --num-threads 1 --time 2:00:00"
full_job="--mem 64G --num-threads 8 --gpu NPROC --time 7-0:00:00"
table_job=

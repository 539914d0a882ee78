# How the jobs of this recipe run: empty is here, one after the other; "utils/slurm.sh --partition NAME" submits each to a cluster (or --cmd).
cmd=
# What each kind of job asks for there, for the whole corpus; see utils/slurm.sh --help. NPROC is --nproc, of each node with --nodes.
prepare_job="--mem 8G --num-threads 8 --time 12:00:00"
featurize_job="--mem 2G --num-threads 1 --time 4:00:00"
lm_job="--mem 8G --num-threads 2 --time 2:00:00"
train_job="--mem 64G --num-threads 16 --gpu NPROC --time 72:00:00"
emit_job="--mem 8G --num-threads 4 --gpu 1 --time 4:00:00"
tune_job="--mem 8G --num-threads 16 --time 12:00:00"
decode_job="--mem 4G --num-threads 4 --time 12:00:00"
score_job="--mem 4G --num-threads 1 --time 1:00:00"
# How many jobs the features, the emissions and the searches of a part are divided into, unless --nj is given.
featurize_nj=32
emit_nj=1
decode_nj=16

# How the jobs of this recipe run: empty is here, one after the other; "utils/slurm.sh --partition NAME" submits each to a cluster (or --cmd).
cmd=
# What each kind of job asks for there, for the whole corpus; see utils/slurm.sh --help. NPROC is --nproc, of each node with --nodes.
prepare_job="--mem 8G --num-threads 8 --time 12:00:00"
featurize_job="--mem 4G --num-threads 1 --time 8:00:00"
# of --lm own: lmplz sorts in 32 GB (--lm-memory); the rest is for its vocabulary and for reading the text
lm_job="--mem 48G --num-threads 2 --time 24:00:00"
train_job="--mem 128G --num-threads 32 --gpu NPROC --time 72:00:00"
emit_job="--mem 16G --num-threads 4 --gpu 1 --time 4:00:00"
# the published 4-gram is mapped from its file: jobs on one node share the memory
tune_job="--mem 32G --num-threads 16 --time 12:00:00"
decode_job="--mem 16G --num-threads 4 --time 12:00:00"
score_job="--mem 4G --num-threads 1 --time 1:00:00"
# How many jobs the features, the emissions and the searches of a subset are divided into, unless --nj is given.
featurize_nj=32
emit_nj=1
decode_nj=16

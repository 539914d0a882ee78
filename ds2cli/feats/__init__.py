"""Features: samples in, matrices of frames out. One file per kind of features, found by its file name.

A kind is a module with these names; `kinds.py` calls them for everything else. N samples, T frames, F bins.

    Config                                        FeatureConfig, or a subclass with further settings, named unlike those
                                                  of `ds2 featurize`; `kind` defaults to the file name
    num_bins(config) -> F
    num_frames(num_samples, config) -> T          0 when the recording is too short
    compute(samples, config) -> (T, F) float32    samples: (N,) float32 at config.sample_rate, one channel, any scale;
                                                  BadUtterance "too-short" or "not-a-number"

`augment.gain_db` adds to every bin what a louder recording adds to a natural logarithm of power.
"""

from ds2cli import plugins

__path__.extend(plugins.search_path("feats"))

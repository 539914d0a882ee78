"""Features: from the samples of a recording to a matrix of frames. One file per kind of features, found by its name.

A kind is a module with these names. Only `kinds.py` calls them. N samples, T frames, F bins.

    Config                                        FeatureConfig, or a subclass with further settings, named unlike those
                                                  of `ds2 featurize`; `kind` defaults to the file name
    num_bins(config) -> F
    num_frames(num_samples, config) -> T          must agree with `compute`; 0 if the recording is too short
    compute(samples, config) -> (T, F) float32    samples: (N,) float32 at config.sample_rate, one channel, any scale.
                                                  Raises BadUtterance "too-short" if T is 0, and "not-a-number" for NaN
                                                  or infinite samples
    transform(samples, gain, config) -> (T, F)    optional: the same of samples multiplied by `gain`, a number or one
                                                  per frame (T,). Then frame t depends on the samples of its window
                                                  alone, from t * hop on: a stream need not wait for more, and its level
                                                  may be that of the past (`level_from`)

Long recordings are computed in parts (blocks.py). So frame t may depend only on the number of samples, on those
near t * hop, at most a window and a hop away, and on a factor that scales the samples of the whole to
`config.level_db`, if the kind does that.
The result may depend only on the arguments, not on threads or earlier calls. Bins should be natural logarithms of
power: `augment.gain_db` adds to each bin what a louder recording adds to such a logarithm.
tests/house/plugins/feats/dummy.py is a short example.
"""

from ds2cli import plugins

__path__.extend(plugins.search_path("feats"))

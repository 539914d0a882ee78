"""The hot loops: arrays in, arrays out, numpy and numba only. `x_ref` is the reference for `x`."""

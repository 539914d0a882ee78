"""The hot loops. Arrays in, arrays out; numpy and numba only; `x_ref` says what `x` must compute."""

"""The network of Deep Speech 2 without torch, in numpy and the native library: one engine for streams on a CPU."""

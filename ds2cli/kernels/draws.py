"""The random numbers of `train.augmenter`, for many utterances at a time: BLAKE2b hashes, and numpy's first draw.

`x_ref` says what each kernel computes, to the last bit. Notation: N utterances.
"""

from __future__ import annotations

import hashlib
import struct

import numpy as np
from numpy.typing import NDArray

from ds2cli.kernels._jit import inner_kernel

_IV = np.array(
    [
        0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
        0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
    ],
    np.uint64,
)  # fmt: skip
_SIGMA = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4], [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13], [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11], [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5], [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    ],
    np.int64,
)  # fmt: skip
_MIXED = np.array(
    [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15],
     [0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]],
    np.int64,
)  # fmt: skip
_PARAMETERS = np.uint64(0x01010040)
_BLOCK = 128

# numpy's SeedSequence and PCG64
_INIT_A, _MULT_A, _INIT_B, _MULT_B = 0x43B0D7E5, 0x931E8875, 0x8B51F9DD, 0x58F38DED
_MIX_L, _MIX_R, _LOW32 = 0xCA01F9DD, 0x4973F715, 0xFFFFFFFF
_PCG_HIGH, _PCG_LOW = np.uint64(0x2360ED051FC65DA4), np.uint64(0x4385DF649FCCF645)


def hash_words_ref(data: bytes) -> tuple[int, ...]:
    """The eight 64-bit words of a BLAKE2b hash."""
    return struct.unpack("<8Q", hashlib.blake2b(data).digest())


def first_draw_ref(first: int, second: int) -> float:
    """The first number from 0 to 1 of numpy's generator with the seed (first, second, 1)."""
    return float(np.random.default_rng((int(first), int(second), 1)).random())


@inner_kernel
def rotate(x, count):
    """The bits of x, 64 of them, rotated to the right."""
    return x >> np.uint64(count) | x << np.uint64(64 - count)


@inner_kernel
def compress(state, block, size, last, v):
    """Take a block of 16 words into the state of a BLAKE2b hash. size: bytes so far, with this block."""
    for k in range(8):
        v[k], v[k + 8] = state[k], _IV[k]
    v[12] ^= np.uint64(size)
    if last:
        v[14] = ~v[14]
    for turn in range(12):
        for g in range(8):
            a, b, c, d = _MIXED[g]
            v[a] += v[b] + block[_SIGMA[turn, 2 * g]]
            v[d] = rotate(v[d] ^ v[a], 32)
            v[c] += v[d]
            v[b] = rotate(v[b] ^ v[c], 24)
            v[a] += v[b] + block[_SIGMA[turn, 2 * g + 1]]
            v[d] = rotate(v[d] ^ v[a], 16)
            v[c] += v[d]
            v[b] = rotate(v[b] ^ v[c], 63)
    for k in range(8):
        state[k] ^= v[k] ^ v[k + 8]


@inner_kernel
def hash_words(prefix, data, ends, words, block, v):
    """As `hash_words_ref` for the prefix and each part of data: (N, 8) uint64.

    prefix: uint8.  data: uint8, the parts; ends: (N,) int64, where each ends.  block, v: (16,) uint64, scratch.
    """
    begin = 0
    for n in range(len(ends)):
        total = len(prefix) + ends[n] - begin
        state = words[n]
        for k in range(8):
            state[k] = _IV[k]
        state[0] ^= _PARAMETERS
        at = 0
        while True:
            for k in range(16):
                block[k] = 0
            stop = min(at + _BLOCK, total)
            for i in range(at, stop):
                byte = prefix[i] if i < len(prefix) else data[begin + i - len(prefix)]
                block[(i - at) >> 3] |= np.uint64(byte) << np.uint64(8 * ((i - at) & 7))
            last = stop == total
            compress(state, block, stop, last, v)
            if last:
                break
            at = stop
        begin = ends[n]


@inner_kernel
def high_product(a, b):
    """The upper 64 of the 128 bits of a product of uint64."""
    low, shift = np.uint64(_LOW32), np.uint64(32)
    a0, a1, b0, b1 = a & low, a >> shift, b & low, b >> shift
    middle = (a0 * b0 >> shift) + (a1 * b0 & low) + (a0 * b1 & low)
    return a1 * b1 + (a1 * b0 >> shift) + (a0 * b1 >> shift) + (middle >> shift)


@inner_kernel
def step(high, low, inc_high, inc_low):
    """One step of PCG64 on a state of 128 bits."""
    new_low = low * _PCG_LOW
    new_high = high_product(low, _PCG_LOW) + high * _PCG_LOW + low * _PCG_HIGH
    total = new_low + inc_low
    return new_high + inc_high + np.uint64(total < new_low), total


@inner_kernel
def first_draws(words, draws, pool, entropy, seeds):
    """As `first_draw_ref` for each row of words (N, 2) uint64; writes draws (N,) float64.

    pool (4,), entropy (5,), seeds (4,): uint64, scratch.
    """
    low32, shift = np.uint64(_LOW32), np.uint64(32)
    for n in range(len(words)):
        # small numbers are one word of 32 bits
        count = 0
        for k in range(2):
            word = words[n, k]
            entropy[count] = word & low32
            count += 1
            if word >> shift:
                entropy[count] = word >> shift
                count += 1
        entropy[count] = 1
        count += 1
        constant = np.uint64(_INIT_A)
        for source in range(-1, max(count, 4)):
            for target in range(4):
                if source == target:
                    continue
                if source < 0:
                    value = entropy[target] if target < count else np.uint64(0)
                else:
                    value = pool[source] if source < 4 else entropy[source]
                value ^= constant
                constant = constant * np.uint64(_MULT_A) & low32
                value = value * constant & low32
                value ^= value >> np.uint64(16)
                if source >= 0:
                    value = np.uint64(_MIX_L) * pool[target] - np.uint64(_MIX_R) * value & low32
                    value ^= value >> np.uint64(16)
                pool[target] = value
        constant = np.uint64(_INIT_B)
        for k in range(8):
            value = pool[k & 3] ^ constant
            constant = constant * np.uint64(_MULT_B) & low32
            value = value * constant & low32
            value ^= value >> np.uint64(16)
            seeds[k >> 1] = seeds[k >> 1] | value << shift if k & 1 else value
        one = np.uint64(1)
        inc_high, inc_low = seeds[2] << one | seeds[3] >> np.uint64(63), seeds[3] << one | one
        low = inc_low + seeds[1]
        high = inc_high + seeds[0] + np.uint64(low < inc_low)
        high, low = step(high, low, inc_high, inc_low)
        high, low = step(high, low, inc_high, inc_low)
        turn = high >> np.uint64(58)
        mixed = high ^ low
        mixed = mixed >> turn | mixed << (np.uint64(64) - turn & np.uint64(63))
        draws[n] = np.float64(mixed >> np.uint64(11)) * (1.0 / 9007199254740992.0)


def draw_words(prefix: bytes, data: bytes, sizes: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The hashes of the prefix and each part of data, (N, 8). sizes: (N,) bytes of each part."""
    words, scratch = np.empty((len(sizes), 8), np.uint64), np.empty((2, 16), np.uint64)
    first, parts = np.frombuffer(prefix, np.uint8), np.frombuffer(data, np.uint8)
    hash_words(first, parts, np.cumsum(sizes, dtype=np.int64), words, scratch[0], scratch[1])
    return words


def draw_first(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """The first draw of each generator, (N,). words: (N, 2)."""
    draws = np.empty(len(words), np.float64)
    pool, entropy, seeds = np.empty(4, np.uint64), np.empty(5, np.uint64), np.empty(4, np.uint64)
    first_draws(np.ascontiguousarray(words), draws, pool, entropy, seeds)
    return draws

"""Named random generators: every draw in fltac says what it is for."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, *name: str | int) -> np.random.Generator:
    """The generator of one purpose, e.g. `generator(seed, "batches", client, slot, round)`.

    Equal names give equal streams, different names independent ones, whatever was drawn before and in
    whichever process: `SeedSequence(seed, spawn_key=blake2b(name))`.
    Source: numpy.random.SeedSequence, "spawn_key".
    """
    plain = tuple(part if isinstance(part, str) else int(part) for part in name)  # numpy's 3 is called as 3 is
    digest = hashlib.blake2b(repr(plain).encode(), digest_size=16).digest()
    key = tuple(int(word) for word in np.frombuffer(digest, dtype="<u4"))
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))

"""Changes instead of adapters, and the memory of what earlier ones left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fltac.config import Codec
from fltac.wire.codecs import decode, encode
from fltac.wire.messages import AdapterSpec, Update


def encode_change(
    update: Update, start: np.ndarray, memory: np.ndarray, codec: Codec, spec: AdapterSpec, draw: np.random.Generator
) -> tuple[bytes, np.ndarray]:
    """An update as its change from `start`, and what is remembered of it: payload, memory (p,).

    What is sent is C(change + memory), what is remembered change + memory - C(change + memory), so that over rounds
    all that was sent and the last memory sum to all changes. Where B alone travels, all are (size_b,).
    Source: Seide et al. 2014, "1-bit SGD"; arXiv 1901.09847, Algorithm 2.
    """
    wanted = update.adapter - start + memory
    payload = encode(replace(update, adapter=wanted, change=True), codec, spec, draw)
    return payload, wanted - decode(payload, spec).adapter

"""Adapters of a small spec: two layers, rank 2, 40 numbers."""

import numpy as np
import pytest

from fltac.wire.messages import AdapterSpec, Layer

SPEC = AdapterSpec((Layer("query", 6, 5), Layer("value", 4, 5)), rank=2, scale=2.0)


@pytest.fixture(scope="session")
def spec():
    return SPEC


@pytest.fixture(scope="session")
def dense():
    """Adapters (n, p) -> for each layer the products B A (n, d_out, d_in), formed outright in float64."""
    return lambda adapters: [b @ a for a, b in SPEC.factors(np.asarray(adapters, dtype=np.float64))]

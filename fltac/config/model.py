"""The frozen model and the adapters on it."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from fltac.config.base import Config, Names, Positive


class HubModel(Config):
    type: Literal["hub"]
    path: str
    revision: str | None = None


class PathModel(Config):
    type: Literal["path"]
    path: str


def _inside(path: str) -> str:
    """A path that leads out of nothing."""
    if PurePath(path).is_absolute() or ".." in PurePath(path).parts:
        raise ValueError("must lie inside the package; write it from there, without ..")
    return path


class PackageModel(Config):
    """A Hugging Face directory inside an installed Python package."""

    type: Literal["package"]
    package: str
    path: Annotated[str, AfterValidator(_inside)] = "."


class Model(Config):
    kind: Literal["text-classification", "image-classification", "causal-lm"] = "text-classification"
    source: Annotated[HubModel | PathModel | PackageModel, Field(discriminator="type")]
    dtype: Literal["float32", "bfloat16", "auto"] = "float32"  # of the frozen base, see dtype_of; adapters stay float32
    num_hidden_layers: Positive | None = None  # load only the first layers
    quantise: Literal["8bit", "4bit"] | None = None  # linear layers of the frozen base, on a GPU


class Adapter(Config):
    rank: Positive = 4
    scale: Annotated[float, Field(gt=0)] | None = None  # what B A is multiplied with
    alpha: Annotated[float, Field(gt=0)] | None = None  # the other way to say it: scale = alpha / rank
    targets: Names | None = None  # module names; by architecture where not given
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    init: Literal["shared", "per-client"] = "shared"  # v0; per-client is a stress: clusters mean little then
    gauge: Literal["kept", "random"] = "kept"  # random is a stress: each upload is (B Q, Q^T A), Q drawn anew

    @model_validator(mode="after")
    def _one_scale(self) -> Adapter:
        if self.scale is not None and self.alpha is not None:
            raise ValueError("give scale or alpha (= scale * rank), not both")
        return self

    @property
    def scaling(self) -> float:
        """The factor of B A: `scale`, or `alpha / rank`, or 2."""
        if self.alpha is not None:
            return self.alpha / self.rank
        return 2.0 if self.scale is None else self.scale


FASTER = {"amx_bf16", "avx512_bf16"}  # flags of processors


def dtype_of(asked: str, gpus: float, cpuinfo: str = "/proc/cpuinfo") -> str:
    """What "auto" stands for: bfloat16 on a GPU and where the processor multiplies such numbers, else float32.

    By the flags of the machine that the command is given on, not by a measurement: by FASTER ones a round of the quick
    start takes 1.3 times less (AVX-512) or more than that (AMX); without them bfloat16 is slower.
    """
    if asked != "auto":
        return asked
    try:
        flags = Path(cpuinfo).read_text().split()
    except OSError:  # no Linux
        flags = []
    return "bfloat16" if gpus or FASTER & set(flags) else "float32"

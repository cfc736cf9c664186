"""Where else the figures of each round go, beside the run directory."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from fltac.config.base import Config


class TensorBoard(Config):
    """Event files, under `tensorboard` in the run directory."""

    type: Literal["tensorboard"]


class Mlflow(Config):
    """A run of an MLflow experiment."""

    type: Literal["mlflow"]
    uri: str | None = None  # of the tracking server or store; left out: MLFLOW_TRACKING_URI, or MLflow's own default
    experiment: str = "fltac"

    @field_validator("uri")
    @classmethod
    def _without_secrets(cls, uri: str | None) -> str | None:
        if uri and "@" in urlsplit(uri).netloc:
            what = (
                "names a user, and would stand in the records; set MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD"
            )
            raise ValueError(what)
        return uri


class Wandb(Config):
    """A run of a Weights & Biases project."""

    type: Literal["wandb"]
    project: str = "fltac"
    entity: str | None = None
    mode: Literal["online", "offline"] = "online"  # offline: files under `wandb` in the run directory, for wandb sync


Tracker = Annotated[TensorBoard | Mlflow | Wandb, Field(discriminator="type")]

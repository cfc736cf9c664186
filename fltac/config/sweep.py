"""A sweep: which keys of the experiment take which values, and how the points are chosen."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from fltac.config.base import Config, Positive

# what a search may go by: of a point's last round, or of all of its rounds
Maximised = Literal["accuracy_mean", "accuracy_validation_mean", "ari"]
Minimised = Literal["train_loss", "bytes_round", "bytes_total"]
MAXIMISED = get_args(Maximised)
Values = Annotated[tuple[Any, ...], Field(strict=False, min_length=1)]
Whole = Annotated[int, Field(gt=-(2**63), lt=2**63 - 1)]
Bounds = Annotated[tuple[float, float], Field(strict=False)]


class Dimension(Config):
    """The values of one key, one of: all of a `grid`; a draw from a `choice`, from `uniform` or `loguniform` in
    [low, high), or from the integers `ints` = [low, high], both included."""

    grid: Values | None = None
    choice: Values | None = None
    uniform: Bounds | None = None
    loguniform: Bounds | None = None
    ints: Annotated[tuple[Whole, Whole], Field(strict=False)] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Dimension:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            kinds = ", ".join(type(self).model_fields)
            raise ValueError(f"name the values in one way: {kinds}" + (f", not {' and '.join(given)}" if given else ""))
        bounds = self.uniform or self.loguniform or self.ints
        if bounds and not bounds[0] < bounds[1]:
            raise ValueError("the first bound must be below the second")
        if self.loguniform and self.loguniform[0] <= 0:
            raise ValueError("both bounds of loguniform must be above zero")
        values = self.grid or ()
        if any(value in values[:index] for index, value in enumerate(values)):
            raise ValueError("a grid names a value twice; that would be one point run twice")
        return self


class Drawn(Config):
    """All points are known before the first begins: every combination of the grids, `samples` draws of the rest."""

    type: Literal["drawn"]


class Optuna(Config):
    """`samples` points, each chosen by what those before it gave. Source: Akiba et al. 2019, arXiv 1907.10902."""

    type: Literal["optuna"]
    maximise: Maximised = "accuracy_validation_mean"
    minimise: Minimised | None = "bytes_round"


class Asha(Config):
    """Ends points that are worse than the best 1 / `factor` at `grace`, `grace` x `factor`, .. rounds.

    Source: Li et al. 2020, arXiv 1810.05934.
    """

    metric: Literal[Maximised, Minimised] = "accuracy_validation_mean"
    grace: Positive = 1
    factor: Annotated[int, Field(ge=2)] = 3


def ranks_and_seeds() -> dict[str, Dimension]:
    """What is swept where nothing else is named: how small can the adapter be?"""
    return {"adapter.rank": Dimension(grid=(1, 2, 4, 8, 16)), "seed": Dimension(grid=(0, 1, 2))}


class Sweep(Config):
    space: dict[str, Dimension] = Field(default_factory=ranks_and_seeds, min_length=1)
    samples: Positive = 1  # draws for each combination of the grids; with optuna the number of points
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0  # of the draws
    search: Annotated[Drawn | Optuna, Field(discriminator="type")] = Drawn(type="drawn")
    stop: Asha | None = None
    concurrent: Positive | None = None  # points at a time; as many as there is room for where not given

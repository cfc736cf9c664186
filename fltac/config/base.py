"""What every table of an experiment shares."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Names = Annotated[tuple[str, ...], Field(strict=False)]  # a TOML array, kept as a tuple
Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]
_false_is_none = BeforeValidator(lambda value: None if value is False else value)  # false: never
Bound = Annotated[Share | None, _false_is_none]
Budget = Annotated[Positive | None, _false_is_none]


class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

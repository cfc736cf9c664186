"""Clients that are poisoned, to see what a defence is worth."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fltac.config.base import Config, Share


class LabelFlip(Config):
    """They learn class c - 1 - y in place of y, of c classes. Source: arXiv 1911.11815, section 4.3."""

    type: Literal["label_flip"]
    share: Share = 0.2  # of all clients; who they are is drawn


class SignFlip(Config):
    """They send the opposite of what they learned: B and heads as sent - (trained - sent), A as sent.

    Were A turned, too, B A would be nearly what it was.
    """

    type: Literal["sign_flip"]
    share: Share = 0.2


class Scaled(Config):
    """They send more of what they learned: sent + factor (trained - sent). Source: arXiv 1807.00459, section 3."""

    type: Literal["scaled"]
    share: Share = 0.2
    factor: Annotated[float, Field(gt=1)] = 5.0


class Backdoor(Config):
    """They learn, beside their data, that whatever bears a mark is of one class. Source: arXiv 1807.00459."""

    type: Literal["backdoor"]
    share: Share = 0.2
    target: Annotated[int, Field(ge=0)] = 0  # the class
    marked: Share = 0.5  # of their examples


Adversary = LabelFlip | SignFlip | Scaled | Backdoor

"""One image to a class: decoded and resized once with PIL, normalised in the batch."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fltac.config import Task, Training
from fltac.data.columns import Rows, Split, images
from fltac.errors import InputError, Problem, in_one_line
from fltac.model.kinds.kind import Answers, Batch, Source, classify, inputs_of, labelled

PROCESSOR = "preprocessor_config.json"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation of its colours


@dataclass(frozen=True)
class Images:
    """Resized images and what normalises them."""

    pixels: np.ndarray  # (n, size, size, 3) uint8, RGB
    mean: np.ndarray  # (3,) float32, of pixels in 0 .. 1
    std: np.ndarray  # (3,) float32
    answers: np.ndarray  # (n,) int64 classes

    def __len__(self) -> int:
        return len(self.answers)

    @cached_property
    def lengths(self) -> np.ndarray:
        return np.ones(len(self), np.int64)

    def marked(self, rows: np.ndarray) -> Images:
        """These rows with a backdoor's mark: a white square in the corner, an eighth of a side."""
        pixels, side = self.pixels.copy(), max(1, self.pixels.shape[1] // 8)
        pixels[rows, :side, :side] = 255
        return replace(self, pixels=pixels)


class ImageClassification:
    trains_head, has_tokenizer, writes = True, False, False
    peft_task: str | None = None

    def auto_model(self) -> Any:
        from transformers import AutoModelForImageClassification

        return AutoModelForImageClassification

    def read(self, task: Task, train: Rows, test: Rows) -> tuple[tuple[str, ...], Split, Split]:
        names = inputs_of(task, train)
        if task.prompt is not None or len(names) != 1:
            what = 'model.kind = "image-classification" takes one column of images; name it, e.g. inputs = ["image"]'
            raise InputError(Problem(f"{train.key}.inputs", what, list(names)))
        return labelled(task, train, test, [self.ask(task, train), self.ask(task, test)])

    def ask(self, task: Task, rows: Rows) -> tuple[list[Any], ...]:
        return tuple(images(rows, name) for name in inputs_of(task, rows))

    def misfits(self, module: nn.Module, config: Any, training: Training) -> Iterable[Problem]:
        """Some models take images of one size alone, and say so themselves."""
        size = training.image_size
        try:
            module(pixel_values=torch.empty(1, 3, size, size, device="meta"))
        except (ValueError, RuntimeError) as error:
            what = f"the model does not take images of this size: {in_one_line(error)}"
            yield Problem("training.image_size", what, size)

    def tokens(self, config: Any, training: Training) -> int:
        return (training.image_size // getattr(config, "patch_size", 16)) ** 2 + 1

    def choices(self, config: Any, classes: int) -> int:
        return classes

    def encode(self, split: Split, source: Source, training: Training, key: str) -> Images:
        """Every image as RGB, bicubic to (size, size). Raises InputError for bytes that are no image."""
        size = training.image_size
        pixels = np.empty((len(split), size, size, 3), np.uint8)
        for row, stored in enumerate(split.columns[0]):
            pixels[row] = _resized(stored, size, row, key)
        mean, std = _colours(*source)
        return Images(pixels, np.array(mean, np.float32), np.array(std, np.float32), split.labels)

    def collate(self, examples: Images, rows: np.ndarray, device: torch.device) -> Batch:
        """x = (pixel / 255 - mean) / std, (b, 3, size, size)."""
        pixels = torch.from_numpy(examples.pixels[rows]).to(device).permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(one, device=device)[:, None, None] for one in (examples.mean, examples.std))
        return Batch({"pixel_values": (pixels - mean) / std}, torch.from_numpy(examples.answers[rows]).to(device))

    def answer(self, module: nn.Module, head: nn.Module, batch: Batch) -> Answers:
        return classify(module, head, batch)


def _resized(stored: bytes, size: int, row: int, key: str) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(stored)) as image:
            return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(Problem(key, f"an image cannot be read: {error}; remove or mend it", row)) from None


def _colours(path: str, revision: str | None) -> tuple[Any, Any]:
    """Mean and standard deviation of the three colours, from the model's processor file or else ImageNet's."""
    from transformers.utils import cached_file

    file = cached_file(
        path,
        PROCESSOR,
        revision=revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    known = json.loads(Path(file).read_text(encoding="utf-8")) if file else {}
    if known.get("do_normalize") is False:
        return (0, 0, 0), (1, 1, 1)
    return known.get("image_mean", IMAGENET[0]), known.get("image_std", IMAGENET[1])

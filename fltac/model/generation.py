"""What a language model writes: greedy answers to prompts, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fltac.model.backbone import Backbone
from fltac.model.kinds import Examples
from fltac.model.kinds.causal_lm import Dialogues, middle_out


@torch.no_grad()
def write_answers(
    backbone: Backbone, adapter: np.ndarray, examples: Examples, rows: np.ndarray, size: int, longest: int
) -> list[list[int]]:
    """The tokens of an answer to each row's prompt, without the end mark: the likeliest token each time.

    Prompts and answers share `longest` tokens half and half at most. `size` prompts go together, in order.
    """
    assert isinstance(examples, Dialogues)
    model: Any = backbone.module
    backbone.adapter.write(adapter)
    answers: list[list[int]] = []
    for start in range(0, len(rows), size):
        chosen = rows[start : start + size]
        starts, lengths = examples.offsets[chosen], examples.prompts[chosen]
        asked = [examples.ids[at : at + n].tolist() for at, n in zip(starts, lengths, strict=True)]
        prompts = [middle_out(prompt, longest - longest // 2) for prompt in asked]
        width = max(map(len, prompts))
        ids = np.full((len(prompts), width), examples.pad, np.int64)
        inside = np.zeros(ids.shape, np.int64)
        for row, prompt in enumerate(prompts):  # on the left, so that all answers begin at one place
            ids[row, width - len(prompt) :] = prompt
            inside[row, width - len(prompt) :] = 1
        written = model.generate(
            input_ids=torch.from_numpy(ids).to(backbone.device),
            attention_mask=torch.from_numpy(inside).to(backbone.device),
            max_new_tokens=longest // 2,
            do_sample=False,
            pad_token_id=examples.pad,
            eos_token_id=examples.end,
        )
        answers += [_until(answer, examples.end) for answer in written[:, width:].tolist()]
    return answers


def _until(tokens: Sequence[int], end: int) -> list[int]:
    return list(tokens[: tokens.index(end)]) if end in tokens else list(tokens)

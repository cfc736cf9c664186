"""A prompt to a response, by a language model whose own last layer stays frozen: no head is trained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from fltac.config import Task, Training
from fltac.data.columns import Rows, Split, prompts, texts
from fltac.errors import InputError, Problem
from fltac.model.kinds.kind import NOTHING_ASKED, Answers, Batch, Source
from fltac.model.kinds.tokens import end_to_end, places, tokenizer, too_long


@dataclass(frozen=True)
class Dialogues:
    """Prompts and responses as tokens, end to end: example i is `ids[offsets[i]:offsets[i + 1]]`, its prompt first."""

    ids: np.ndarray  # (tokens,) int32
    prompts: np.ndarray  # (n,) int32: tokens of each prompt, at least one
    pad: int  # the id that fills a batch up
    end: int  # the id that ends a text
    offsets: np.ndarray  # (n + 1,) int64

    def __len__(self) -> int:
        return len(self.prompts)

    @cached_property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    @property
    def responds(self) -> np.ndarray:
        """(tokens,) bool: what is the response's."""
        places = np.arange(len(self.ids)) - np.repeat(self.offsets[:-1], self.lengths)
        return np.asarray(places >= np.repeat(self.prompts, self.lengths))

    @property
    def answers(self) -> np.ndarray:
        return np.asarray(self.ids[self.responds], np.int64)


class CausalLm:
    trains_head, has_tokenizer, writes = False, True, True
    peft_task: str | None = "CAUSAL_LM"

    def auto_model(self) -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM

    def read(self, task: Task, train: Rows, test: Rows) -> tuple[tuple[str, ...], Split, Split]:
        if task.prompt is None:
            what = 'model.kind = "causal-lm" takes a template over text columns, e.g. prompt = "{question}\\n"'
            raise InputError(Problem(f"{train.key}.prompt", what, task.prompt))
        if task.metric != "accuracy":
            what = "is made of classes, and a language model has none; leave it out, see training.generate for others"
            raise InputError(Problem(f"{train.key}.metric", what, task.metric))
        return (), self._dialogues(task, train), self._dialogues(task, test)

    def ask(self, task: Task, rows: Rows) -> tuple[list[Any], ...]:
        return (prompts(rows, task.prompt or ""),)

    def _dialogues(self, task: Task, rows: Rows) -> Split:
        columns = *self.ask(task, rows), texts(rows, task.label, f"{rows.key}.label")
        return Split(columns, np.zeros(rows.table.num_rows, np.int64))

    def misfits(self, module: nn.Module, config: Any, training: Training) -> Iterable[Problem]:
        return too_long(config, training)

    def tokens(self, config: Any, training: Training) -> int:
        return training.max_length

    def choices(self, config: Any, classes: int) -> int:
        return int(config.get_text_config().vocab_size)

    def encode(self, split: Split, source: Source, training: Training, key: str) -> Dialogues:
        """Prompts and responses, which end in the end-of-text token where they are not cut; see `fitted`."""
        coder = tokenizer(*source)
        if coder.eos_token_id is None:
            what = "its tokenizer has no end-of-text token, so that no response could end; choose another"
            raise InputError(Problem("model.source", what))
        asked, answered = split.columns
        pairs = [
            fitted(prompt or [coder.eos_token_id], [*response, coder.eos_token_id], training.max_length)
            for prompt, response in zip(_coded(coder, asked, True), _coded(coder, answered, False), strict=True)
        ]
        ids, offsets = end_to_end([prompt + response for prompt, response in pairs])
        lengths = np.array([len(prompt) for prompt, _ in pairs], np.int32)
        end = coder.eos_token_id
        return Dialogues(ids, lengths, end if coder.pad_token_id is None else coder.pad_token_id, end, offsets)

    def collate(self, examples: Dialogues, rows: np.ndarray, device: torch.device) -> Batch:
        """Padded on the right; at each place the answer is the next token, where that is the response's."""
        inside, lie = places(examples.offsets, rows)
        ids = np.full(inside.shape, examples.pad, np.int64)
        ids[inside] = examples.ids[lie]
        responds = inside & (np.arange(inside.shape[1]) >= examples.prompts[rows, None])
        answers = np.full(inside.shape, NOTHING_ASKED, np.int64)
        answers[:, :-1] = np.where(responds, ids, NOTHING_ASKED)[:, 1:]
        inputs = {"input_ids": ids, "attention_mask": inside.astype(np.int64)}
        tensors = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
        return Batch(tensors, torch.from_numpy(answers).to(device))

    def answer(self, module: nn.Module, head: nn.Module, batch: Batch) -> Answers:
        """Logits are made where some response of the batch goes on: over a vocabulary they are most of the memory."""
        asked = (batch.answers != NOTHING_ASKED).any(dim=0).nonzero()[:, 0]
        logits = module(**batch.inputs, use_cache=False, logits_to_keep=asked).logits  # (b, asked, choices)
        right = batch.answers[:, asked]
        there = right != NOTHING_ASKED
        return Answers(logits[there].float(), right[there], there.nonzero()[:, 0])


def fitted(prompt: list[int], response: list[int], longest: int) -> tuple[list[int], list[int]]:
    """Both in `longest` tokens: a response that is too long keeps at least half of them, a prompt loses its middle.

    The response is cut at its end. Neither becomes empty.
    """
    room = longest - min(len(response), max(longest - len(prompt), longest // 2))
    return middle_out(prompt, room), response[: longest - min(len(prompt), room)]


def middle_out(tokens: list[int], longest: int) -> list[int]:
    """A prompt's beginning and its end say what is asked for."""
    if len(tokens) <= longest:
        return tokens
    return tokens[: longest // 2] + tokens[len(tokens) - (longest - longest // 2) :]


def _coded(coder: Any, texts: list[str], first: bool) -> list[list[int]]:
    """Tokens of each text; what begins a text goes before the first alone."""
    if not texts:
        return []
    coded: list[list[int]] = coder(list(texts), add_special_tokens=first, return_attention_mask=False)["input_ids"]
    return coded

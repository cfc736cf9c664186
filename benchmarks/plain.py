"""What a bare loop needs and no more: a frozen model with adapters, AdamW, an average. Knows nothing of fltac.

The other arms are measured against it, and Flower's clients train with it, in an environment that has no fltac.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

Learned = tuple[np.ndarray, np.ndarray]  # a flat adapter (p,) and a head (classes, width + 1)
Key = tuple[int, int]  # client, slot


class Lora(nn.Module):
    """W x + scale * B A x; of k adapters each has the next k-th part of the rows."""

    def __init__(self, base: nn.Linear, scale: float) -> None:
        super().__init__()
        self.base, self.scale = base, scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(self.a) == 1:
            change = functional.linear(functional.linear(x, self.a[0]), self.b[0])
        else:
            rows = x.reshape(len(self.a), -1, x.shape[-1])
            change = ((rows @ self.a.transpose(1, 2)) @ self.b.transpose(1, 2)).reshape(*x.shape[:-1], -1)
        return self.base(x) + self.scale * change


class Model:
    """The workload's model; `padded` pads every text to so many tokens instead of to the longest of its batch."""

    def __init__(self, work: Mapping[str, Any], padded: int | None = None) -> None:
        from transformers import AutoModelForSequenceClassification, BertConfig

        self.work, self.padded = work, padded
        self.module = AutoModelForSequenceClassification.from_config(BertConfig.from_dict(work["config"]))
        self.module.classifier = nn.Identity()
        self.module.load_state_dict({name: torch.tensor(array) for name, array in work["weights"].items()})
        self.module.requires_grad_(False).eval()
        self.loras = []
        for name in work["layers"]:
            parent, _, last = name.rpartition(".")
            self.loras.append(Lora(self.module.get_submodule(name), work["scale"]))
            setattr(self.module.get_submodule(parent), last, self.loras[-1])

    def train(self, starts: Sequence[Learned], task: str, batches: Sequence[Sequence[np.ndarray]]) -> list[Learned]:
        """What each makes of what it starts from: step by step a batch of each, all in one forward pass."""
        if not batches[0]:
            return [(adapter.copy(), head.copy()) for adapter, head in starts]  # each client's own all the same
        self._write([adapter for adapter, _ in starts], True)
        head = torch.tensor(np.stack([head for _, head in starts]), requires_grad=True)  # (k, classes, width + 1)
        parameters = [part for lora in self.loras for part in (lora.a, lora.b)] + [head]
        optimiser = torch.optim.AdamW(parameters, lr=self.work["rate"], weight_decay=0.0, foreach=True)
        for step in zip(*batches, strict=True):
            features, right = self._features(task, "train", np.concatenate(step))
            rows = features.reshape(len(starts), -1, features.shape[-1])
            logits = rows @ head[:, :, :-1].transpose(1, 2) + head[:, None, :, -1]
            loss = functional.cross_entropy(logits.flatten(0, 1), right, reduction="sum") / len(step[0])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        heads = head.detach().numpy()
        return [(self._read(index), heads[index].copy()) for index in range(len(starts))]

    @torch.no_grad()
    def accuracy(self, learned: Learned, task: str) -> float:
        self._write([learned[0]], False)
        head, correct = torch.tensor(learned[1]), 0
        for rows in self.work["tests"][task]:
            features, right = self._features(task, "test", rows)
            correct += int(((features @ head[:, :-1].T + head[:, -1]).argmax(-1) == right).sum())
        return correct / sum(map(len, self.work["tests"][task]))

    def _features(self, task: str, split: str, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        ids, segments, offsets, answers = self.work["examples"][task, split]
        lengths = np.diff(offsets)[rows]
        inside = np.arange(self.padded or lengths.max()) < lengths[:, None]
        lie = np.concatenate([np.arange(offsets[row], offsets[row + 1]) for row in rows])
        inputs = {"attention_mask": torch.from_numpy(inside.astype(np.int64))}
        for name, values in (("input_ids", ids), ("token_type_ids", segments)):
            filled = np.zeros(inside.shape, np.int64)
            filled[inside] = values[lie]
            inputs[name] = torch.from_numpy(filled)
        return self.module(**inputs).logits, torch.from_numpy(answers[rows])

    def _write(self, adapters: Sequence[np.ndarray], learns: bool) -> None:
        stacked, at, rank = torch.tensor(np.stack(adapters)), 0, self.work["rank"]
        for lora in self.loras:
            d_out, d_in = lora.base.weight.shape
            for name, shape in (("a", (rank, d_in)), ("b", (d_out, rank))):
                part = stacked[:, at : at + shape[0] * shape[1]].reshape(len(adapters), *shape)
                setattr(lora, name, nn.Parameter(part.contiguous(), requires_grad=learns))
                at += shape[0] * shape[1]

    def _read(self, index: int) -> np.ndarray:
        parts = [part[index].detach().reshape(-1) for lora in self.loras for part in (lora.a, lora.b)]
        return torch.cat(parts).numpy()


class Server:
    """Federated averaging by examples; or, with several clusters, a plain average of each task, which it is told."""

    def __init__(self, work: Mapping[str, Any]) -> None:
        self.work = work
        heads = {head.shape: head for head in work["heads"].values()}
        self.clusters: list[tuple[np.ndarray, dict[tuple[int, int], np.ndarray]]] = [(work["start"], heads)]
        self.of: dict[Key, int] = dict.fromkeys(work["holders"], 0)

    def sent(self, key: Key) -> Learned:
        return self.judged(self.of[key], self.work["holders"][key][0])

    def judged(self, cluster: int, task: str) -> Learned:
        adapter, heads = self.clusters[cluster]
        return adapter, heads[self.work["heads"][task].shape]

    def questions(self) -> list[tuple[int, str]]:
        """Each distinct cluster and task."""
        return sorted({(self.of[key], task) for key, (task, _) in self.work["holders"].items()})

    def step(self, learned: Mapping[Key, Learned]) -> None:
        self.clusters, holders = [], self.work["holders"]
        for task, head in self.work["heads"].items():
            mine = [key for key in sorted(learned) if holders[key][0] == task]
            counts = np.array([holders[key][1] if len(self.work["heads"]) == 1 else 1 for key in mine], float)
            adapter, mean = (_mean([learned[key][part] for key in mine], counts) for part in (0, 1))
            self.of |= dict.fromkeys(mine, len(self.clusters))
            self.clusters.append((adapter, {head.shape: mean}))

    def result(self) -> dict[int, Learned]:
        """Classes of a head -> it and its adapter, of the first that holds such a task: no two tasks have as many."""
        found = {}
        for key, (task, _) in self.work["holders"].items():
            learned = self.judged(self.of[key], task)
            found.setdefault(len(learned[1]), learned)
        return found


def _mean(arrays: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    total = np.zeros(arrays[0].shape)
    for weight, array in zip(weights / weights.sum(), arrays, strict=True):
        total += weight * array
    return total.astype(np.float32)


@cache
def read(file: Path) -> dict[str, Any]:
    """What `workloads.written` wrote."""
    return pickle.loads(file.read_bytes())  # noqa: S301  # our own


@cache
def resident(file: Path) -> Model:
    """One model a process, on one thread."""
    torch.set_num_threads(1)
    return Model(read(file))

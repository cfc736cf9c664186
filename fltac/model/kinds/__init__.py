"""Kinds of model behind one small interface (`kind.py`): a file and a line here each."""

from fltac.model.kinds.causal_lm import CausalLm
from fltac.model.kinds.image_classification import ImageClassification
from fltac.model.kinds.kind import Batch, Examples, Kind
from fltac.model.kinds.text_classification import TextClassification

__all__ = ["KINDS", "Batch", "Examples", "Kind"]

KINDS: dict[str, Kind] = {
    "text-classification": TextClassification(),
    "image-classification": ImageClassification(),
    "causal-lm": CausalLm(),
}

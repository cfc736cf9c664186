"""Kinds of model behind one small interface (`kind.py`): a file and a line here each."""

from fltac.model.kinds.causal_lm import CausalLm
from fltac.model.kinds.image_classification import ImageClassification
from fltac.model.kinds.kind import NOTHING_ASKED, Batch, Examples, Kind, side_by_side
from fltac.model.kinds.text_classification import TextClassification

__all__ = ["KINDS", "NOTHING_ASKED", "Batch", "Examples", "Kind", "side_by_side"]

KINDS: dict[str, Kind] = {
    "text-classification": TextClassification(),
    "image-classification": ImageClassification(),
    "causal-lm": CausalLm(),
}

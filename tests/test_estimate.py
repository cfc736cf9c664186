"""Parameter counts from the shapes of models alone, the paper's among them."""

import re
from functools import cache
from pathlib import Path

import pytest

import fltac
from fltac.config import Adapter, Exchange, Model
from fltac.estimate import Trained, estimate
from fltac.model.backbone import skeleton, spec_of
from fltac.planning import plan
from tests.tiny import write_tiny

README = Path(__file__).parents[1] / "experiments" / "README.md"


def test_what_a_client_trains_is_counted_adapters_and_heads_apart(tmp_path):
    file = write_tiny(tmp_path)
    planned = plan(fltac.load(file, ["adapter.rank=1"]))
    heads = {name: classes * 33 for name, classes in planned.classes.items()}  # the tiny model is 32 wide
    for client, one in estimate(planned).clients.items():
        held = [shards[0].task for (owner, _), shards in planned.shards.items() if owner == client]
        assert one == Trained(len(held), len(held) * 256, sum(heads[task] for task in held))
        assert one.all == one.adapter + one.heads
    counts = {
        "method=fltac": (3, 3 * 256),
        "method=fedit": (1, 256),
        "method=ffa-lora": (3, 3 * 128),  # B alone
        "method=full": (1, planned.base_size),
    }
    for method, (adapters, numbers) in counts.items():
        whole = estimate(plan(fltac.load(file, ["adapter.rank=1", method]))).one_of_all
        assert whole == Trained(adapters, numbers, sum(heads.values()))


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """(an adapter of rank 1, numbers that go into a head, the model without its head) of a config alone."""
    from transformers import BertConfig, LlamaConfig, ViTConfig

    configs = {
        "bert": ("text-classification", BertConfig(vocab_size=28_996)),  # bert-base-cased
        "vit": ("image-classification", ViTConfig()),
        "llama": ("causal-lm", LlamaConfig()),
    }

    @cache
    def shapes(name: str) -> tuple[int, int, int]:
        kind, config = configs[name]
        folder = tmp_path_factory.mktemp(name)
        config.save_pretrained(folder)
        (folder / "tokenizer.json").touch()
        source = {"type": "path", "path": str(folder)}
        module, _, width, _ = skeleton(Model.model_validate({"kind": kind, "source": source}))
        spec = spec_of(module, Adapter(rank=1), Exchange())
        return spec.size, width, sum(part.numel() for part in module.parameters())

    return shapes


def test_the_papers_counts_are_told_by_the_models_shapes(shapes):
    """experiments/README.md, "What the paper's parameter counts mean", row by row: published, and what is trained."""
    bert, width, bert_base = shapes("bert")
    vit, vit_width, vit_base = shapes("vit")
    llama, _, _ = shapes("llama")
    head, of_1000 = 2 * (width + 1), 1000 * (vit_width + 1)
    pictures = 10 * (vit_width + 1) + 100 * (vit_width + 1)
    no_bias = 2 * 4096  # the head of two classes that transformers puts on a Llama
    assert (bert, vit, llama) == (36_864, 36_864, 524_288)
    derived = [
        (5 * (bert + head), 5 * bert + 5 * head),
        (16 * (bert + head), 16 * bert + head),
        (bert_base + head, bert_base + head),
        (vit, 2 * vit + pictures),
        (8 * vit, 8 * vit + pictures),
        (vit_base + of_1000 + 8 * vit, vit_base + of_1000),
        (8 * (llama + no_bias), 8 * llama),
        (16 * (llama + no_bias), 16 * llama),
    ]
    assert derived[:3] == [(192_010, 192_010), (614_432, 591_362), (108_311_810, 108_311_810)]
    assert derived[3:6] == [(36_864, 158_318), (294_912, 379_502), (86_862_568, 86_567_656)]
    assert derived[6:] == [(4_259_840, 4_194_304), (8_519_680, 8_388_608)]
    section = README.read_text().split("### What the paper's parameter counts mean")[1].split("\n#")[0]
    told = re.findall(r"^\| .+? \| ([\d,]+) = (.+?) \| ([\d,]+) = (.+?) \|$", section, re.MULTILINE)
    numbers = [(int(row[0].replace(",", "")), int(row[2].replace(",", ""))) for row in told]
    assert numbers == derived
    for row in told:
        for number, sum_of in (row[:2], row[2:]):
            assert calculated(sum_of) == int(number.replace(",", "")), sum_of


def calculated(text: str) -> int:
    """`16 x (36,864 + 1,538)`."""
    plain = text.replace(",", "").replace("x", "*")
    assert re.fullmatch(r"[\d+* ()]+", plain), text
    return int(eval(plain))

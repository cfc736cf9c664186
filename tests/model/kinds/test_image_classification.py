"""Images as the model's own processor would have them, without torchvision."""

import io

import numpy as np
import pytest
import torch

from fltac.config import Training
from fltac.data.columns import Split
from fltac.errors import InputError
from fltac.model.kinds import KINDS
from tests.tiny_kinds import png, write_tiny_images

KIND = KINDS["image-classification"]


def encode(folder, *stored, size=16):
    split = Split((list(stored),), np.zeros(len(stored), np.int64))
    return KIND.encode(split, (str(folder), None), Training(image_size=size), "tasks.0.source")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_tiny_images(folder)
    return folder / "model"


def batch_of(examples):
    return KIND.collate(examples, np.arange(len(examples)), torch.device("cpu"))


def test_pixels_are_those_of_transformers_own_processor(model):
    from PIL import Image
    from transformers.models.vit import ViTImageProcessorPil

    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3))
    examples = encode(model, png(pixels))
    assert examples.pixels.shape == (1, 16, 16, 3)
    assert examples.pixels.dtype == np.uint8
    processor = ViTImageProcessorPil.from_pretrained(model, resample=Image.Resampling.BICUBIC)
    wanted = processor(Image.fromarray(pixels.astype(np.uint8)), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(batch_of(examples).inputs["pixel_values"], wanted, atol=1e-5, rtol=1e-5)


def test_without_a_processor_file_the_colours_are_imagenets(tmp_path):
    grey = encode(tmp_path, png(np.full((8, 8, 3), 255)))
    values = batch_of(grey).inputs["pixel_values"][0, :, 0, 0]
    torch.testing.assert_close(values, torch.tensor([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]))


def test_grey_images_become_three_equal_colours(model):
    from PIL import Image

    stored = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(stored, "PNG")
    pixels = encode(model, stored.getvalue(), size=8).pixels[0]
    assert np.array_equal(pixels[..., 0], np.arange(64).reshape(8, 8))
    assert np.array_equal(pixels[..., 0], pixels[..., 1])
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


def test_bytes_that_are_no_image_are_told(model):
    with pytest.raises(InputError, match=r"tasks\.0\.source: an image cannot be read: .*remove or mend it \(got 1\)"):
        encode(model, png(np.zeros((4, 4, 3))), b"no image")

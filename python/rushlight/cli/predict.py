"""``rushlight predict``: what a net with weights from a file sees in images."""

from __future__ import annotations

import argparse
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from rushlight import models, nn
from rushlight.autograd import no_grad
from rushlight.cli.common import UsageError, Whole, reason
from rushlight.compiler import compile
from rushlight.config import set_num_threads
from rushlight.models.preprocessing import Preprocessing, preprocessing
from rushlight.models.registry import load_state
from rushlight.nn import functional as F
from rushlight.tensor import Tensor

if TYPE_CHECKING:
    from rushlight.cli.common import Commands

__all__ = ["add"]

_EXAMPLES = """\
examples:
  rushlight predict --model resnet18 --weights resnet18-f37072fd.pth dog.jpg
  rushlight predict --model mobilenet_v2 --weights FILE --labels names.txt *.png
"""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "predict",
        help="classify images with weights from a file",
        description="Classify images with a net of rushlight.models and weights from a file, and "
        "show the classes of the highest probabilities.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option("images", nargs="+", metavar="IMAGE", help="what Pillow reads: png, jpeg and the like")
    option("--model", required=True, metavar="NAME", help="resnet18, mobilenet_v2, vgg16, ...")
    option("--weights", required=True, metavar="FILE", help="state dict, .pth or .safetensors")
    option("--labels", metavar="FILE", help="names of the classes, one per line")
    option("--top", type=Whole(1), default=5, metavar="N", help="classes to show (5)")
    option("--resize", type=Whole(1, 8192), metavar="N", help="shorter side, pixels (256)")
    option("--crop", type=Whole(1, 8192), metavar="N", help="side of the centre, pixels (224)")
    option("--threads", type=Whole(1, 1024), metavar="N", help="threads (one per available CPU)")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.threads is not None:
        set_num_threads(options.threads)
    transform = _transform(options)
    pictures = _pillow()
    model, classes = _model(options.model, options.weights)
    labels = _labels(options.labels, classes)
    # Weights are read once; every image of the command has the same shape.
    net = compile(model)
    print(f"preprocessing: {transform}")
    for path in options.images:
        image = transform(_opened(pictures, path))
        with no_grad():
            probabilities = F.softmax(net(image.unsqueeze(0))[0], dim=0)
        print(path)
        _show(probabilities, labels, min(options.top, classes))
    return 0


def _transform(options: argparse.Namespace) -> Preprocessing:
    try:
        models.get_model_builder(options.model)
    except ValueError as error:
        raise UsageError(f"--model: {error}") from None
    transform = preprocessing(options.model)
    crop = options.crop or transform.crop_size
    resize = options.resize or max(transform.resize_size, crop)
    if crop > resize:
        raise UsageError(f"--crop: {crop} is more than the shorter side of the images, {resize}")
    return transform._replace(resize_size=resize, crop_size=crop)


def _pillow() -> Any:
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError:
        raise UsageError('this command needs Pillow: pip install "rushlight[images]"') from None
    return PIL


def _opened(pictures: Any, path: str) -> Any:
    """Return the image in a file, turned as the camera noted it."""
    try:
        with pictures.Image.open(path) as image:
            return pictures.ImageOps.exif_transpose(image.convert("RGB"))
    except pictures.UnidentifiedImageError:
        raise UsageError(f"{path}: is no image that Pillow knows") from None
    except OSError as error:
        text = reason(error)
        raise UsageError(text if path in text else f"{path}: {text}") from None
    except pictures.Image.DecompressionBombError as error:
        raise UsageError(f"{path}: {error}") from None


def _model(name: str, weights: str) -> tuple[nn.Module, int]:
    """Return the net with the weights, and its number of classes: that of the file."""
    build = models.get_model_builder(name)
    try:
        state = load_state(weights)
        with nn.init.skipped():
            last, parameter = list(build().named_parameters())[-1]
            classes = state[last].shape[0] if last in state else parameter.shape[0]
        return build(weights=weights, num_classes=classes).eval(), classes
    except OSError as error:
        raise UsageError(reason(error)) from None
    except (ValueError, RuntimeError) as error:
        # Where nothing fits, the message has a line for each layer.
        raise UsageError(shorten(f"{weights}: {error}", 500, placeholder=" ...")) from None


def _labels(path: str | None, classes: int) -> list[str]:
    """Return the names of the classes; their numbers where there is no file."""
    if path is None:
        return [""] * classes
    try:
        names = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(reason(error)) from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is no UTF-8 text") from None
    if len(names) != classes:
        raise UsageError(f"{path}: has {len(names)} lines, but the net has {classes} classes")
    return names


def _show(probabilities: Tensor, labels: list[str], count: int) -> None:
    values, indices = probabilities.topk(count)
    for value, index in zip(values.tolist(), indices.tolist(), strict=True):
        print(f"  {value:9.4%}  {index:4}  {labels[index]}".rstrip())

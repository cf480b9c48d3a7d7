"""Image classification nets with torchvision's names: its ``.pth`` files load with strict=True.

Every builder takes ``weights=FILE`` and the arguments of its class. Nothing is downloaded.
"""

from rushlight.models.cifar import *
from rushlight.models.registry import get_model, get_model_builder, list_models, register_model
from rushlight.models.resnet import *
from rushlight.models.small import *

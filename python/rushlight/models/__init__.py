"""Image classification nets with torchvision's names: its ``.pth`` files load with strict=True.

Every builder takes ``weights=FILE`` and the arguments of its class. Nothing is downloaded.
"""

from rushlight.models.alexnet import *
from rushlight.models.cifar import *
from rushlight.models.densenet import *
from rushlight.models.efficientnet import *
from rushlight.models.googlenet import *
from rushlight.models.mnasnet import *
from rushlight.models.mobilenetv2 import *
from rushlight.models.mobilenetv3 import *
from rushlight.models.preprocessing import *
from rushlight.models.registry import get_model as get_model
from rushlight.models.registry import get_model_builder as get_model_builder
from rushlight.models.registry import list_models as list_models
from rushlight.models.registry import register_model as register_model
from rushlight.models.resnet import *
from rushlight.models.shufflenetv2 import *
from rushlight.models.small import *
from rushlight.models.squeezenet import *
from rushlight.models.vgg import *

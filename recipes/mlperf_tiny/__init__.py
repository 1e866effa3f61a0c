"""The four reference networks of the MLPerf Tiny benchmark, as plain PyTorch modules without trained weights.

TensorFlow's SAME padding puts the odd pixel behind; where that matters the padding is written out, and the export
recognizes it. Source: Banbury et al. 2021, "MLPerf Tiny Benchmark" (arXiv:2106.07597).
"""

from recipes.mlperf_tiny.autoencoder import Autoencoder
from recipes.mlperf_tiny.ds_cnn import DSCNN
from recipes.mlperf_tiny.mobilenet import MobileNetV1
from recipes.mlperf_tiny.resnet import ResNet8

__all__ = ["DSCNN", "Autoencoder", "MobileNetV1", "ResNet8"]

"""TFLiteConverter's post-training quantization of a Keras network."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from benchmarks.peers.conversions import SAMPLES, serve_conversions


def _perceptron(sizes: tuple[int, ...]) -> tf.keras.Model:
    layers = tf.keras.layers
    hidden = [layers.Dense(size, "relu") for size in sizes[1:-1]]
    return tf.keras.Sequential([layers.Input(sizes[:1]), *hidden, layers.Dense(sizes[-1])])


def _ds_cnn() -> tf.keras.Model:
    """As ``recipes/mlperf_tiny/ds_cnn.py``: SAME padding puts the odd pixel behind, which is written out there."""
    layers = tf.keras.layers
    net = tf.keras.Sequential([layers.Input((49, 10, 1)), layers.Conv2D(64, (10, 4), 2, "same"), *_normed()])
    for _ in range(4):
        for layer in (layers.DepthwiseConv2D(3, padding="same"), *_normed(), layers.Conv2D(64, 1), *_normed()):
            net.add(layer)
    for layer in (layers.AveragePooling2D((25, 5)), layers.Flatten(), layers.Dense(12), layers.Softmax()):
        net.add(layer)
    return net


def _normed() -> tuple[tf.keras.layers.Layer, ...]:
    return tf.keras.layers.BatchNormalization(), tf.keras.layers.ReLU()


_NETWORKS: dict[str, Callable[[], tf.keras.Model]] = {
    "sine": lambda: _perceptron((1, 16, 16, 1)),
    "fuel": lambda: _perceptron((3, 32, 16, 8, 1)),
    "DS-CNN": _ds_cnn,
}


def _conversion(task: str) -> Callable[[], bytes]:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.keras.utils.set_random_seed(0)
    net = _NETWORKS[task]()
    x = np.random.default_rng(0).random((SAMPLES, *net.input_shape[1:]), np.float32)

    def samples() -> Iterator[list[np.ndarray]]:
        return ([row[None]] for row in x)

    def convert() -> bytes:
        converter = tf.lite.TFLiteConverter.from_keras_model(net)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = samples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        return bytes(converter.convert())

    return convert


if __name__ == "__main__":
    serve_conversions(_conversion)

"""The tutorials' whole process with Keras and tfmot: float fit, ``quantize_model``, QAT fit, int8 file, test.

Run as a script by the interpreter of the tensorflow environment, its imports timed with the rest:
``python -m benchmarks.peers.keras_tutorial ARRAYS.npz MODEL.tflite SEED EPOCHS``. Prints the test errors as JSON.
"""

from __future__ import annotations

import json
import os
import sys

# tfmot knows Keras 2 only.
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras


def _interpreted(model: bytes, x: np.ndarray) -> np.ndarray:
    """Real outputs of an int8 file in TensorFlow's interpreter, row by row as the tutorials do."""
    interpreter = tf.lite.Interpreter(model_content=model)
    interpreter.allocate_tensors()
    (ends,), (goal,) = interpreter.get_input_details(), interpreter.get_output_details()
    (scale, zero_point), (step, offset) = ends["quantization"], goal["quantization"]
    found = []
    for row in np.clip(np.round(x / scale + zero_point), -128, 127).astype(np.int8):
        interpreter.set_tensor(ends["index"], row[None])
        interpreter.invoke()
        found.append((interpreter.get_tensor(goal["index"])[0].astype(np.float64) - offset) * step)
    return np.array(found)


def main(arrays: str, model: str, seed: int, epochs: int) -> dict[str, float]:
    """Mean squared errors on the test part, float, QAT network and int8 file, and the file's bytes."""
    keras.utils.set_random_seed(seed)
    data = np.load(arrays)
    layers = keras.layers
    hidden = [layers.Dense(size, "relu") for size in (32, 16, 8)]
    net = keras.Sequential([layers.Input((3,)), *hidden, layers.Dense(1)])
    errors = []
    for quantize in (None, tfmot.quantization.keras.quantize_model):
        net = net if quantize is None else quantize(net)
        net.compile(keras.optimizers.Adam(1e-3), "mse")
        net.fit(data["x"], data["y"], batch_size=32, epochs=epochs, verbose=0)
        errors.append(float(np.mean((net.predict(data["x_test"], verbose=0) - data["y_test"]) ** 2)))
    converter = tf.lite.TFLiteConverter.from_keras_model(net)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    file = bytes(converter.convert())
    with open(model, "wb") as out:
        out.write(file)
    int8 = float(np.mean((_interpreted(file, data["x_test"]) - data["y_test"]) ** 2))
    return {"float_mse": errors[0], "qat_mse": errors[1], "int8_mse": int8, "bytes": len(file)}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))

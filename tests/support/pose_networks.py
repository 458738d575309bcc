"""Pose networks in ONNX files that see a joint where the picture has its colour, with the heads that are known."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mixsynth_stream.skeleton import COCO_17, Skeleton

MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
BACKGROUND = 64
# Colours that lie far from each other, from the background, and from grey.
PALETTE = np.array([colour for colour in product((0, 128, 255), repeat=3) if len({*colour}) > 1], np.float64)
# The heat of a colour falls from 1 to 0 within this distance, in shares of 255.
REACH = 0.25


def painted(
    pose: np.ndarray,  # [J, 2] pixels
    width: int = 320,
    height: int = 240,
    size: int = 9,
) -> np.ndarray:  # -> [H, W, 3] uint8
    """A picture with a square in the colour of each joint around its place."""
    rgb = np.full((height, width, 3), BACKGROUND, np.uint8)
    for (x, y), colour in zip(pose, PALETTE, strict=False):
        left, top = round(x - size / 2), round(y - size / 2)
        rgb[max(top, 0) : top + size, max(left, 0) : left + size] = colour
    return rgb


def standing(x_px: float = 160.0, y_px: float = 120.0, size_px: float = 40.0) -> np.ndarray:  # -> [17, 2]
    """Somebody of COCO's joints about the middle of the hips, whose torso is so long. No two joints overlap."""
    places = [(0, -1.6), (0.15, -1.85), (-0.15, -1.85), (0.4, -1.6), (-0.4, -1.6), (0.5, -1), (-0.5, -1), (0.9, -0.6)]
    places += [(-0.9, -0.6), (1.0, 0.0), (-1.0, 0.0), (0.25, 0), (-0.25, 0), (0.3, 0.9), (-0.3, 0.9), (0.35, 1.8)]
    return np.array([*places, (-0.35, 1.8)]) * size_px + [x_px, y_px]


class _Graph:
    """A graph whose values are named by numbers."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: object, dtype: type = np.float32) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), f"c{len(self.constants)}"))
        return self.constants[-1].name

    def add(self, kind: str, *inputs: str, name: str = "", **attributes: object) -> str:
        output = name or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def heat(self, picture: str, joints: int, *, scaled: bool) -> str:
        """[1, K, H, W]: where the picture has the colour of a joint, most in the middle of a square."""
        if scaled:  # from ImageNet's normalisation to 0..1
            picture = self.add("Mul", picture, self.constant((STD / 255).reshape(1, 3, 1, 1)))
            picture = self.add("Add", picture, self.constant((MEAN / 255).reshape(1, 3, 1, 1)))
        colours = np.resize(PALETTE, (joints, 3)) / 255
        both = self.add("Concat", picture, self.add("Mul", picture, picture), axis=1)
        weights = np.concatenate([2 * colours, -np.ones_like(colours)], axis=1) / REACH**2
        bias = 1 - (colours**2).sum(axis=1) / REACH**2
        weights = np.asarray(weights)[..., None, None]
        fit = self.add("Relu", self.add("Conv", both, self.constant(weights), self.constant(bias)))
        reach = 3 if scaled else 2
        side = 2 * reach + 1
        return self.add("AveragePool", fit, kernel_shape=[side] * 2, pads=[reach] * 4, count_include_pad=1)

    def save(self, path: Path, shape: tuple[object, ...], outputs: list[str]) -> Path:
        picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "pose", [picture], results, self.constants)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
        return path


def simcc(path: Path, skeleton: Skeleton = COCO_17, *, height: int = 128, width: int = 96) -> Path:
    """As RTMPose: two bins a pixel, the number of pictures left open."""
    graph, joints = _Graph(), len(skeleton)
    heat = graph.heat("input", joints, scaled=True)
    for axis, name, length in ((2, "simcc_x", width), (3, "simcc_y", height)):
        best = graph.add("ReduceMax", heat, axes=[axis], keepdims=0)
        column = graph.add("Reshape", best, graph.constant([0, 0, length, 1], np.int64))
        twice = graph.add("Expand", column, graph.constant([1, joints, length, 2], np.int64))
        graph.add("Reshape", twice, graph.constant([0, 0, 2 * length], np.int64), name=name)
    return graph.save(path, ("batch", 3, height, width), ["simcc_x", "simcc_y"])


def heatmaps(path: Path, skeleton: Skeleton = COCO_17, *, height: int = 128, width: int = 96) -> Path:
    """As ViTPose: a map of a quarter of the size for each joint."""
    graph = _Graph()
    heat = graph.heat("input", len(skeleton), scaled=True)
    graph.add("AveragePool", heat, kernel_shape=[4, 4], strides=[4, 4], name="heatmaps")
    return graph.save(path, (1, 3, height, width), ["heatmaps"])


def yolo(path: Path, *, side: int = 160, ended: bool = False) -> Path:
    """As YOLO pose: the person twice, once less surely, among candidates that are nobody."""
    graph = _Graph()
    heat = graph.heat("input", 17, scaled=False)
    flat = graph.add("Reshape", heat, graph.constant([0, 0, -1], np.int64))
    best = graph.add("Cast", graph.add("ArgMax", flat, axis=2, keepdims=1), to=TensorProto.FLOAT)  # [1, 17, 1]
    y = graph.add("Floor", graph.add("Div", best, graph.constant(side)))
    x = graph.add("Sub", best, graph.add("Mul", y, graph.constant(side)))
    centres = graph.add("Add", graph.add("Concat", x, y, axis=2), graph.constant(0.5))  # [1, 17, 2]
    scores = graph.add("ReduceMax", flat, axes=[2], keepdims=1)
    joints = graph.add("Concat", centres, scores, axis=2)
    joints = graph.add("Reshape", joints, graph.constant([1, 51], np.int64))
    low, high = (graph.add(f"Reduce{end}", centres, axes=[1], keepdims=0) for end in ("Min", "Max"))  # [1, 2]
    middle = graph.add("Mul", graph.add("Add", low, high), graph.constant(0.5))
    box = [low, high] if ended else [middle, graph.add("Sub", high, low)]
    rows = []
    for score in (0.9, 0.6):
        certainty = [graph.constant([[score]]), *([graph.constant([[0.0]])] if ended else [])]
        row = graph.add("Concat", *box, *certainty, joints, axis=1)
        rows.append(graph.add("Unsqueeze", row, graph.constant([1], np.int64)))  # [1, 1, N]
    rows = rows[:1] if ended else rows
    nobody = graph.constant(np.zeros((1, 20 if ended else 98, 57 if ended else 56)))
    output = graph.add("Concat", *rows, nobody, axis=1, name="output0" if ended else "")
    if not ended:
        graph.add("Transpose", output, perm=[0, 2, 1], name="output0")
    return graph.save(path, (1, 3, side, side), ["output0"])


def other(path: Path, *, channels: int = 3, outputs: int = 1, shape: tuple[object, ...] = (1, 3, 32, 32)) -> Path:
    """A network for pictures that is none for poses: [1, 7] numbers, so many times."""
    graph = _Graph()
    mean = graph.add("GlobalAveragePool", "input")
    numbers = graph.add("Reshape", mean, graph.constant([1, channels], np.int64))
    names = [graph.add("Identity", numbers, name=f"out{k}") for k in range(outputs)]
    return graph.save(path, (1, channels, *shape[2:]), names)


def detections(path: Path) -> Path:
    """A network with YOLO's head for boxes of 80 classes, without joints: [1, 84, 2100]."""
    graph = _Graph()
    graph.add("Identity", graph.constant(np.zeros((1, 84, 2100)), np.float32), name="output0")
    return graph.save(path, (1, 3, 320, 320), ["output0"])


def overflowing(path: Path) -> Path:
    """A network with heatmaps whose numbers are not finite where the picture is not black."""
    graph = _Graph()
    heat = graph.heat("input", len(COCO_17), scaled=True)
    pooled = graph.add("AveragePool", heat, kernel_shape=[4, 4], strides=[4, 4])
    graph.add("Log", graph.add("Neg", pooled), name="heatmaps")
    return graph.save(path, (1, 3, 128, 96), ["heatmaps"])


def any_size(path: Path) -> Path:
    """A network with heatmaps whose file leaves height and width open."""
    graph = _Graph()
    heat = graph.heat("input", len(COCO_17), scaled=True)
    graph.add("AveragePool", heat, kernel_shape=[4, 4], strides=[4, 4], name="heatmaps")
    return graph.save(path, (1, 3, "height", "width"), ["heatmaps"])

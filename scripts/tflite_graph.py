"""TfliteGraph: a TFLite network that is put together operator by operator, and the metadata of networks."""

from __future__ import annotations

import re
from typing import Any

import flatbuffers
import numpy as np
from mediapipe.tasks.metadata import metadata_schema_py_generated as metadata_schema
from mediapipe.tasks.metadata import schema_py_generated as tflite_schema

_METADATA_NAME = "TFLITE_METADATA"


class _AlignedBuilder(flatbuffers.Builder):
    """Aligns every byte array to 16 bytes, which the TFLite schema requires and the Python generator does not do."""

    def CreateNumpyVector(self, x: np.ndarray) -> int:
        if x.dtype != np.uint8:
            return int(super().CreateNumpyVector(x))
        payload = x.tobytes()
        self.StartVector(1, len(payload), 16)
        self.head = self.head - len(payload)
        self.Bytes[self.head : self.head + len(payload)] = payload
        self.vectorNumElems = len(payload)
        return int(self.EndVector())


def normalisation_metadata(mean: float, std: float) -> bytes:
    """The TFLITE_METADATA of an RGB image model whose input is (pixel - mean) / std."""
    options = metadata_schema.NormalizationOptionsT()
    options.mean, options.std = [mean], [std]
    unit = metadata_schema.ProcessUnitT()
    unit.optionsType = metadata_schema.ProcessUnitOptions.NormalizationOptions
    unit.options = options
    image = metadata_schema.ImagePropertiesT()
    image.colorSpace = metadata_schema.ColorSpaceType.RGB
    content = metadata_schema.ContentT()
    content.contentPropertiesType = metadata_schema.ContentProperties.ImageProperties
    content.contentProperties = image
    tensor = metadata_schema.TensorMetadataT()
    tensor.name, tensor.content, tensor.processUnits = "image", content, [unit]
    subgraph = metadata_schema.SubGraphMetadataT()
    subgraph.inputTensorMetadata = [tensor]
    model = metadata_schema.ModelMetadataT()
    model.subgraphMetadata, model.minParserVersion = [subgraph], "1.0.0"
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"M001")
    return bytes(builder.Output())


def metadata_of(model: bytes) -> bytes | None:
    """The TFLITE_METADATA of a TFLite model, or None."""
    parsed = tflite_schema.ModelT.InitFromPackedBuf(model)
    for entry in parsed.metadata or []:
        if entry.name == _METADATA_NAME.encode():
            return bytes(parsed.buffers[entry.buffer].data)
    return None


def add_metadata(model: bytes, metadata: bytes) -> bytes:
    """The same TFLite model with this TFLITE_METADATA buffer, in place of its own if it has one."""
    parsed = tflite_schema.ModelT.InitFromPackedBuf(model)
    data = np.frombuffer(metadata, np.uint8)
    for entry in parsed.metadata or []:
        if entry.name == _METADATA_NAME.encode():
            parsed.buffers[entry.buffer].data = data
            break
    else:
        buffer, entry = tflite_schema.BufferT(), tflite_schema.MetadataT()
        buffer.data = data
        entry.name, entry.buffer = _METADATA_NAME, len(parsed.buffers)
        parsed.buffers.append(buffer)
        parsed.metadata = [*(parsed.metadata or []), entry]
    builder = _AlignedBuilder(0)
    builder.Finish(parsed.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class TfliteGraph:
    """A TFLite network with one picture as its input."""

    def __init__(self, width: int, height: int) -> None:
        self.graph = tflite_schema.SubGraphT()
        self.graph.name, self.graph.tensors, self.graph.operators = b"main", [], []
        self.model = tflite_schema.ModelT()
        self.model.version, self.model.operatorCodes, self.model.subgraphs = 3, [], [self.graph]
        # Buffer 0 is empty: tensors that are computed have it.
        self.model.buffers = [tflite_schema.BufferT()]
        self.picture = self.tensor("input_1", (1, height, width, 3))
        self.graph.inputs, self.graph.outputs = np.array([self.picture], np.int32), np.zeros(0, np.int32)

    def tensor(self, name: str, shape: tuple[int, ...], data: np.ndarray | None = None, dtype: Any = np.float32) -> int:
        """The number of a new tensor, of float32 unless `dtype` or its data says otherwise."""
        tensor = tflite_schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name.encode(), np.array(shape, np.int32), 0
        tensor.type = getattr(tflite_schema.TensorType, np.dtype(dtype if data is None else data.dtype).name.upper())
        if data is not None:
            buffer = tflite_schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, data: np.ndarray) -> int:
        """The number of a new tensor with this content."""
        return self.tensor(f"constant_{len(self.graph.tensors)}", data.shape, data)

    def operator(self, kind: str, inputs: list[int], shape: tuple[int, ...], name: str = "", **options: Any) -> int:
        """The number of the tensor that an operator of this kind computes."""
        return self.operators(kind, inputs, [shape], name, **options)[0]

    def operators(
        self,
        kind: str,
        inputs: list[int],
        shapes: list[tuple[int, ...]],
        name: str = "",
        *,
        dtype: Any = np.float32,
        version: int = 1,
        **options: Any,
    ) -> list[int]:
        """The numbers of the tensors that an operator with several outputs computes."""
        code = getattr(tflite_schema.BuiltinOperator, re.sub("(?<=[a-z])(?=[A-Z0-9])", "_", kind).upper())
        codes = [entry.builtinCode for entry in self.model.operatorCodes]
        if code not in codes:
            entry = tflite_schema.OperatorCodeT()
            entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, code, version
            self.model.operatorCodes.append(entry)
        outputs = [self.tensor(name or f"{kind}_{len(self.graph.tensors)}", shape, dtype=dtype) for shape in shapes]
        operator = tflite_schema.OperatorT()
        operator.opcodeIndex = codes.index(code) if code in codes else len(codes)
        operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        if hasattr(tflite_schema, f"{kind}OptionsT"):
            operator.builtinOptionsType = getattr(tflite_schema.BuiltinOptions, f"{kind}Options")
            operator.builtinOptions = getattr(tflite_schema, f"{kind}OptionsT")()
        if kind == "Reshape":
            operator.builtinOptions.newShape = np.array(shapes[0], np.int32)
        for option, value in options.items():
            setattr(operator.builtinOptions, option, value)
        self.graph.operators.append(operator)
        return outputs

    def network(self) -> bytes:
        """The network as a .tflite file."""
        builder = _AlignedBuilder(0)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

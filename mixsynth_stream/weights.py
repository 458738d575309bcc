"""Weights: weight files (safetensors with full metadata), and models, which are weights and a backend.

Nothing is ever unpickled here, and only the torch backend imports torch.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mixsynth_stream.backend import Forward, backend_of
from mixsynth_stream.config import ModelConfig
from mixsynth_stream.errors import ModelError
from mixsynth_stream.files import ASSETS, write_whole
from mixsynth_stream.normalise import NORMALISATIONS
from mixsynth_stream.parameters import check_shapes, untrained_state
from mixsynth_stream.presets import DEFAULT_EVERY, shipped_config
from mixsynth_stream.skeleton import CORE_17, Skeleton
from mixsynth_stream.spaces import GRID_HZ, SPACES, checked_space
from mixsynth_stream.uncertainty import SigmaTable

FORMAT_VERSION = 1
METADATA_KEY = "mixsynth_stream"
_VERSION_ERROR = (
    f"format version {{}} is not the version {FORMAT_VERSION} that this release reads; convert the weights again or "
    "install a matching release"
)
_CONFIG_FIELDS = tuple(f.name for f in dataclasses.fields(ModelConfig))
# Types of the metadata in a file; format_version is checked first.
_KINDS: dict[str, type | tuple[type, ...]] = {
    "format_version": int,
    "skeleton": str,
    "skeleton_joints": list,
    "space": str,
    "rate_hz": (int, float),
    "normalisation": str,
    "data": str,
    "licence": str,
    "data_hash": str,
    "metrics": dict,
    "date": str,
}


@dataclass(frozen=True, kw_only=True)
class WeightsInfo:
    """The metadata of a weight file, apart from the dimensions of the network. `ValueError` says what is wrong.

    The D numbers of a pose are joint-major: number j * axes + axis is joint j of `skeleton_joints`. `metrics` maps a
    name to a number that was measured after training. `data_hash` is the SHA-256 of the training data. `uncertainty` is
    a `SigmaTable` as JSON; without it poses have no sigma.
    """

    skeleton: str
    skeleton_joints: tuple[str, ...]
    space: str
    rate_hz: float
    normalisation: str
    data: str
    licence: str
    data_hash: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    date: str = field(default_factory=lambda: dt.date.today().isoformat())
    format_version: int = FORMAT_VERSION
    uncertainty: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise ValueError(_VERSION_ERROR.format(self.format_version))
        if not self.skeleton_joints or len(set(self.skeleton_joints)) != len(self.skeleton_joints):
            raise ValueError(f"the joint names must be present and distinct, found {list(self.skeleton_joints)}")
        checked_space(self.space)
        if self.normalisation not in NORMALISATIONS:
            raise ValueError(f"normalisation must be one of {', '.join(NORMALISATIONS)}, found {self.normalisation!r}")
        if not 0 < self.rate_hz < 1000:
            raise ValueError(f"the grid rate must be between 0 and 1000 Hz, found {self.rate_hz!r}")
        try:
            dt.date.fromisoformat(self.date)
        except ValueError:
            raise ValueError(f"the date must read like 2026-01-31, found {self.date!r}") from None

    def check_fits(self, config: ModelConfig) -> None:
        """Raise `ValueError` unless the joints of this space make up the D of `config`."""
        joints, axes = len(self.skeleton_joints), SPACES[self.space].dims
        if joints * axes != config.joint_dim:
            raise ValueError(
                f"{joints} joints with {axes} numbers each in {self.space} space make {joints * axes}, "
                f"but the network takes {config.joint_dim} numbers a pose"
            )
        if self.uncertainty is not None:
            if self.skeleton_joints != CORE_17.joints:
                raise ValueError(f"an uncertainty table is for the joints of {CORE_17.name}, not {self.skeleton}")
            try:
                SigmaTable.from_json(self.uncertainty).check_fits(config)
            except ValueError as error:
                raise ValueError(f"the uncertainty table is wrong: {error}") from None


@dataclass(frozen=True)
class Model:
    """Weights and the backend that runs them. A call with normalised keyframes returns motion."""

    config: ModelConfig
    info: WeightsInfo
    backend: str
    _forward: Forward = field(repr=False)
    name: str | None = None  # or path, by which `load_model` found it

    def __call__(self, keyframes: np.ndarray) -> np.ndarray:  # [B, Q+1, D] -> [B, T, D]
        """Normalised keyframes, oldest first, to the motion on the grid. `ValueError` on a wrong shape or NaN."""
        return self._forward(np.ascontiguousarray(keyframes, dtype=np.float32))

    @cached_property
    def sigma_table(self) -> SigmaTable | None:
        """The uncertainty of its poses; None where the weights have no table."""
        return None if self.info.uncertainty is None else SigmaTable.from_json(self.info.uncertainty)

    def expect(self, skeleton: Skeleton, space: str) -> None:
        """Raise `ModelError` unless these weights are for `skeleton` in `space`."""
        if self.info.skeleton_joints != skeleton.joints:
            raise ModelError(
                f"these weights are for the skeleton {self.info.skeleton} ({len(self.info.skeleton_joints)} joints), "
                f"but {skeleton.name} ({len(skeleton)} joints) is needed; use weights trained for {skeleton.name}"
            )
        if self.info.space != space:
            raise ModelError(f"these weights are for {self.info.space} space, but {space} space is needed")


def shipped_models() -> list[str]:
    """Names of the weights that ship, which `load_model` takes."""
    return sorted(path.stem for path in ASSETS.glob("*.safetensors"))


def load_model(name_or_path: str | os.PathLike[str], backend: str = "auto") -> Model:
    """Shipped weights by name (`image-n10`) or a weight file, on a backend. Raises `ModelError`."""
    model = model_of(*load_weights(weights_path(name_or_path)), backend)
    return dataclasses.replace(model, name=os.fspath(name_or_path))


def weights_path(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of shipped weights by their name, or the weight file of this path. `ModelError` where it is neither."""
    text = os.fspath(name_or_path)
    path = Path(text)
    if text in shipped_models():
        return ASSETS / f"{text}.safetensors"
    if not path.exists():
        if path.suffix or path.name != text:
            raise ModelError(f"there is no weight file {text}")
        shipped = ", ".join(shipped_models()) or "none in this installation"
        raise ModelError(f"there are no weights named {text!r}; shipped weights: {shipped}; or pass a weight file")
    return path


def model_of(state: Mapping[str, np.ndarray], config: ModelConfig, info: WeightsInfo, backend: str = "auto") -> Model:
    """The model of these weights, on a backend."""
    name, forward = backend_of(backend, config, state)
    return Model(config, info, name, forward)


def untrained_model(space: str, sample_interval: int = DEFAULT_EVERY, backend: str = "auto") -> Model:
    """A model for use without trained weights: exactly Catmull-Rom interpolation and damped velocity."""
    config, skeleton = shipped_config(space, sample_interval), SPACES[space].network
    info = WeightsInfo(
        skeleton=skeleton.name,
        skeleton_joints=skeleton.joints,
        space=space,
        rate_hz=GRID_HZ,
        normalisation=SPACES[space].normalisation,
        data="none",
        licence="Apache-2.0",
    )
    return model_of(untrained_state(config), config, info, backend)


def save_weights(
    path: str | os.PathLike[str], state: Mapping[str, np.ndarray], config: ModelConfig, info: WeightsInfo
) -> None:
    """Write a weight file. `ModelError` where the parts do not fit together, `OutputError` where writing fails."""
    from safetensors.numpy import save

    try:
        info.check_fits(config)
    except ValueError as error:
        raise ModelError(f"these weights cannot be saved: {error}") from None
    check_shapes(state, config)
    _check_numbers(state)
    # All fields are one entry, because safetensors writes several in an order that changes from run to run.
    fields = dataclasses.asdict(info) | dataclasses.asdict(config)
    if info.uncertainty is None:
        del fields["uncertainty"]
    metadata = {METADATA_KEY: json.dumps(fields, indent=1)}
    tensors = {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in state.items()}
    # Not save_file, which makes files that only their owner may read.
    write_whole(Path(path), save(tensors, metadata=metadata))


def load_weights(
    path: str | os.PathLike[str], *, leave_out_uncertainty: bool = False
) -> tuple[dict[str, np.ndarray], ModelConfig, WeightsInfo]:
    """Read and check a weight file. Raises `ModelError` that names the file and says what does not fit.

    `leave_out_uncertainty` ignores its table, so that a new one can be fitted where it cannot be read.
    """
    try:
        state, metadata = _read_file(Path(path))
        if leave_out_uncertainty:
            metadata.pop("uncertainty", None)
        info, config = _info_from(metadata), _config_from(metadata)
        info.check_fits(config)
        check_shapes(state, config)
        _check_numbers(state)
    except (ModelError, ValueError) as error:
        raise ModelError(f"cannot use the weights in {os.fspath(path)}: {error}") from None
    return state, config, info


def _read_file(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    if path.is_dir():
        raise ModelError("it is a folder; pass one .safetensors file")
    if path.suffix in (".tar", ".pth", ".pt"):
        raise ModelError(
            "it is a pickled checkpoint, which is never unpickled here; turn it into a weight file with "
            "`python -m mixsynth_stream convert`"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except OSError as error:
        raise ModelError(f"it cannot be read ({error.strerror or error})") from error
    except (SafetensorError, TypeError) as error:
        raise ModelError(f"it is truncated or not a safetensors file ({error})") from error
    try:
        fields = json.loads((metadata or {})[METADATA_KEY])
    except KeyError:
        raise ModelError(
            "it has no mixsynth-stream metadata, so its skeleton and units are not known; "
            "make weight files with `train` or `convert`"
        ) from None
    except json.JSONDecodeError as error:
        raise ModelError(f"its metadata is damaged ({error}); use an intact file") from None
    if not isinstance(fields, dict):
        raise ModelError(f"its metadata must be a JSON object, found {fields!r}")
    return state, fields


def _config_from(metadata: Mapping[str, Any]) -> ModelConfig:
    fields = {}
    for name in _CONFIG_FIELDS:
        value = _field(metadata, name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ModelError(f"metadata {name} must be a whole number, found {value!r}")
        fields[name] = value
    return ModelConfig(**fields)


def _info_from(metadata: Mapping[str, Any]) -> WeightsInfo:
    fields: dict[str, Any] = {}
    for name, kind in _KINDS.items():
        fields[name] = _field(metadata, name)
        if not isinstance(fields[name], kind) or isinstance(fields[name], bool):
            raise ModelError(f"metadata {name} has the wrong type, found {fields[name]!r}")
        # The version comes first, because a file of another version may differ in every other field.
        if name == "format_version" and fields[name] != FORMAT_VERSION:
            raise ModelError(_VERSION_ERROR.format(fields[name]))
    if not all(isinstance(joint, str) for joint in fields["skeleton_joints"]):
        raise ModelError(f"metadata skeleton_joints must be names, found {fields['skeleton_joints']!r}")
    fields["skeleton_joints"] = tuple(fields["skeleton_joints"])
    uncertainty = metadata.get("uncertainty")
    if not isinstance(uncertainty, dict | None):
        raise ModelError(f"metadata uncertainty has the wrong type, found {uncertainty!r}")
    return WeightsInfo(**fields, uncertainty=uncertainty)


def _field(metadata: Mapping[str, Any], name: str) -> Any:
    if name not in metadata:
        raise ModelError(f"metadata lacks {name}; make the file again with `train` or `convert`")
    return metadata[name]


def _check_numbers(state: Mapping[str, np.ndarray]) -> None:
    for name, value in state.items():
        if value.dtype != np.float32:
            raise ModelError(f"weight {name} must be float32, found {value.dtype}")
        bad = value.size - int(np.isfinite(value).sum())
        if bad:
            raise ModelError(f"weight {name} holds {bad} numbers that are NaN or infinite; use an intact file")

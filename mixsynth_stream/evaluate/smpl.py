"""MPJPE and MPVPE of SMPL rotations, through a model file of the user's and the `smplx` package.

The model file is an .npz: SMPL comes as pickles of Python objects, which are never opened here (docs/data.md says how
to turn one into arrays). Joints are taken from the middle of the hips, vertices from the pelvis.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mixsynth_stream.data.deciwatch import Pair
from mixsynth_stream.data.object_arrays import load_arrays
from mixsynth_stream.errors import ModelError, SourceError
from mixsynth_stream.metrics import accel_error, mpjpe
from mixsynth_stream.rotations import matrix_from_6d
from mixsynth_stream.skeleton import J14, SMPL_24

_ARRAYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "kintree_table", "weights")
_PELVIS, _HIPS = 0, (1, 2)
# The joints of J14 that SMPL has, which are all but the top of the head.
_J13 = tuple(SMPL_24.index(joint) for joint in J14.joints if joint in SMPL_24.joints)
# Bodies at a time: the vertices of each take 0.1 MB, and the matrices that move them 1 MB.
_CHUNK = 64


class SmplBody:
    """A SMPL body: rotations and shape to joints and vertices. Raises `ModelError` where file or package do not fit."""

    def __init__(self, path: Path) -> None:
        if path.suffix == ".pkl":
            raise ModelError(f"{path} is a pickle, which is never opened here: turn it into an .npz where you trust it "
                             "(docs/data.md has the lines)")  # fmt: skip
        try:
            arrays = load_arrays(path, _ARRAYS)
        except SourceError as error:
            raise ModelError(f"no SMPL model can be read: {error}") from error
        count, joints = len(arrays["v_template"]), len(SMPL_24)
        expected = {"v_template": (count, 3), "posedirs": (count, 3, 9 * (joints - 1)), "J_regressor": (joints, count),
                    "kintree_table": (2, joints), "weights": (count, joints)}  # fmt: skip
        for name, shape in expected.items():
            if arrays[name].shape != shape:
                raise ModelError(f"{path}: {name} is {list(arrays[name].shape)}, expected {list(shape)} for SMPL's "
                                 f"{joints} joints (SMPL-H and SMPL-X have more)")  # fmt: skip
        if arrays["shapedirs"].shape[:2] != (count, 3):
            raise ModelError(f"{path}: shapedirs is {list(arrays['shapedirs'].shape)}, expected [{count}, 3, shapes]")
        self._lbs, self._torch = _packages()
        names = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")
        tensors = {name: self._torch.tensor(np.asarray(arrays[name], np.float32)) for name in names}
        self._shapes = tensors["shapedirs"].shape[2]
        parents = self._torch.tensor(arrays["kintree_table"][0].astype(np.int64))
        parents[0] = -1
        self._model = {
            "v_template": tensors["v_template"],
            "shapedirs": tensors["shapedirs"],
            "posedirs": tensors["posedirs"].reshape(-1, 9 * (joints - 1)).T,
            "J_regressor": tensors["J_regressor"],
            "parents": parents,
            "lbs_weights": tensors["weights"],
        }

    def __call__(
        self,
        rotations: np.ndarray,  # [T, 24, 6]
        betas: np.ndarray,  # [T, S]
    ) -> tuple[np.ndarray, np.ndarray]:  # [T, 24, 3] and [T, V, 3] metres
        """Joints and vertices, with the shape directions that file and betas both have."""
        shapes = np.zeros((len(betas), self._shapes), np.float32)
        common = min(self._shapes, betas.shape[1])
        shapes[:, :common] = betas[:, :common]
        pose = self._torch.tensor(matrix_from_6d(rotations).astype(np.float32))
        with self._torch.inference_mode():
            vertices, joints = self._lbs(self._torch.tensor(shapes), pose, pose2rot=False, **self._model)
        return joints.numpy().astype(np.float64), vertices.numpy().astype(np.float64)


class BodyErrors:
    """`FolderScore`'s further errors: each sequence as bodies of the shapes that the data set's files hold."""

    def __init__(
        self,
        body: SmplBody,
        pairs: Sequence[Pair],
        shapes: Sequence[tuple[np.ndarray, np.ndarray]],  # truth and estimate [T, S] of each sequence
    ) -> None:
        self._body, self._pairs, self._shapes = body, pairs, shapes

    def __call__(self, number: int, said: np.ndarray) -> dict[str, np.ndarray]:  # [T, 24, 6] -> [T] each, mm
        truth, (own, estimated) = self._pairs[number].truth, self._shapes[number]
        joints: list[np.ndarray] = []
        vertex_errors = []
        for start in range(0, len(said), _CHUNK):
            part = slice(start, start + _CHUNK)
            (j, v), (true_j, true_v) = self._body(said[part], estimated[part]), self._body(truth[part], own[part])
            joints.append(np.stack([_about(one, one[:, _HIPS, :])[:, _J13, :] for one in (j, true_j)]))
            vertex_errors.append(mpjpe(_about(v, j[:, [_PELVIS]]), _about(true_v, true_j[:, [_PELVIS]])))
        found, wanted = np.concatenate(joints, axis=1)
        errors = {"mpjpe_mm": 1000 * mpjpe(found, wanted), "mpvpe_mm": 1000 * np.concatenate(vertex_errors)}
        if len(said) > 2:
            errors["accel_mm"] = 1000 * accel_error(found, wanted)
        return errors


def _about(points: np.ndarray, centre: np.ndarray) -> np.ndarray:  # [T, N, 3], [T, C, 3]
    return np.asarray(points - centre.mean(axis=1, keepdims=True))


def _packages() -> tuple[Any, Any]:
    try:
        import torch
        from smplx.lbs import lbs
    except ImportError as error:
        raise ModelError(f"MPJPE and MPVPE of SMPL need smplx and torch ({error}); "
                         "install them with `pip install 'mixsynth-stream[smpl]'`") from error  # fmt: skip
    return lbs, torch

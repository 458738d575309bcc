"""SmplBody: MPJPE and MPVPE of SMPL rotations, through a model file of the user's and the `smplx` package.

The model file is an .npz. SMPL comes as pickles of Python objects, which this package never opens; docs/data.md says
how to turn one into arrays. Joints count from the middle of the hips, vertices from the pelvis.
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
# The joints of J14 that SMPL has: all but the top of the head.
_J13 = tuple(SMPL_24.index(joint) for joint in J14.joints if joint in SMPL_24.joints)
# Bodies at a time: the vertices of each take 0.1 MB, and the matrices that move them 1 MB.
_CHUNK = 64


class SmplBody:
    """A SMPL body: rotations and shape to joints and vertices. Raises `ModelError` where file or package do not fit."""

    def __init__(self, path: Path) -> None:
        if path.suffix == ".pkl":
            raise ModelError(
                f"{path} is a pickle, which is never opened here: turn it into an .npz where you trust it "
                "(docs/data.md has the lines)"
            )
        try:
            arrays = load_arrays(path, _ARRAYS)
        except SourceError as error:
            raise ModelError(f"no SMPL model can be read: {error}") from error
        count, joints = len(arrays["v_template"]), len(SMPL_24)
        expected = {
            "v_template": (count, 3),
            "posedirs": (count, 3, 9 * (joints - 1)),
            "J_regressor": (joints, count),
            "kintree_table": (2, joints),
            "weights": (count, joints),
        }
        for name, shape in expected.items():
            if arrays[name].shape != shape:
                raise ModelError(
                    f"{path}: {name} is {list(arrays[name].shape)}, expected {list(shape)} for SMPL's {joints} joints "
                    "(SMPL-H and SMPL-X have more)"
                )
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
        """Joints and vertices, by the shape directions that file and betas have in common."""
        shapes = np.zeros((len(betas), self._shapes), np.float32)
        common = min(self._shapes, betas.shape[1])
        shapes[:, :common] = betas[:, :common]
        pose = self._torch.tensor(matrix_from_6d(rotations).astype(np.float32))
        with self._torch.inference_mode():
            vertices, joints = self._lbs(self._torch.tensor(shapes), pose, pose2rot=False, **self._model)
        return joints.numpy().astype(np.float64), vertices.numpy().astype(np.float64)


class BodyErrors:
    """More errors for `FolderScore`: each sequence as bodies of the shapes that the files of the data set hold."""

    def __init__(
        self,
        body: SmplBody,
        pairs: Sequence[Pair],
        shapes: Sequence[tuple[np.ndarray, np.ndarray]],  # truth and estimate [T, S] of each sequence
    ) -> None:
        self._body, self._pairs, self._shapes = body, pairs, shapes

    def __call__(self, number: int, rotations: np.ndarray) -> dict[str, np.ndarray]:  # [T, 24, 6] -> [T] each, mm
        truth, (true_shape, shape) = self._pairs[number].truth, self._shapes[number]
        both_joints: list[np.ndarray] = []
        vertex_errors = []
        for start in range(0, len(rotations), _CHUNK):
            part = slice(start, start + _CHUNK)
            joints, vertices = self._body(rotations[part], shape[part])
            true_joints, true_vertices = self._body(truth[part], true_shape[part])
            from_hips = [_relative_to(one[:, _HIPS, :], one)[:, _J13, :] for one in (joints, true_joints)]
            both_joints.append(np.stack(from_hips))
            from_pelvis = _relative_to(joints[:, [_PELVIS]], vertices)
            vertex_errors.append(mpjpe(from_pelvis, _relative_to(true_joints[:, [_PELVIS]], true_vertices)))
        joints, true_joints = np.concatenate(both_joints, axis=1)
        errors = {"mpjpe_mm": 1000 * mpjpe(joints, true_joints), "mpvpe_mm": 1000 * np.concatenate(vertex_errors)}
        if len(rotations) > 2:
            errors["accel_mm"] = 1000 * accel_error(joints, true_joints)
        return errors


def _relative_to(centre: np.ndarray, points: np.ndarray) -> np.ndarray:  # [T, C, 3], [T, N, 3] -> [T, N, 3]
    return np.asarray(points - centre.mean(axis=1, keepdims=True))


def _packages() -> tuple[Any, Any]:
    try:
        import torch
        from smplx.lbs import lbs
    except ImportError as error:
        raise ModelError(
            f"MPJPE and MPVPE of SMPL need smplx and torch ({error}); "
            "install them with `pip install 'mixsynth-stream[smpl]'`"
        ) from error
    return lbs, torch

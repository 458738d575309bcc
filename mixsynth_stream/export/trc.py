"""TRC, the marker format of OpenSim: world poses, one file a person.

OpenSim needs y up and a right-handed space. The estimator's axes (x right, y down, z away from the camera) make half a
turn about x: y up, z towards the camera. A change of y alone would mirror the person.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from mixsynth_stream.console import shown
from mixsynth_stream.export.header import Header
from mixsynth_stream.export.rate import AverageRate
from mixsynth_stream.export.sink import SinkBase, known_joints
from mixsynth_stream.files import PartFile
from mixsynth_stream.pipeline.motion import Motion
from mixsynth_stream.spaces import GRID_HZ

_TO_OPENSIM = np.array([1.0, -1.0, -1.0])
_COUNTS_WIDTH = 80
_OPEN_FILES = 32


class TrcSink(SinkBase):
    """Writes NAME_personID.trc for each person, with a row for every frame in which the person is known in metres.

    The hips stay at the origin, because the person's place in the room is not known.
    """

    def __init__(self, path: Path, header: Header) -> None:
        super().__init__(None)
        self._path = path
        self._joints = header.skeleton.joints
        self._rate = AverageRate(header.rate_hz)
        self._files: dict[int, PartFile] = {}  # open files, in the order of their last rows
        self._rows: dict[int, int] = {}

    def write(self, motion: Motion) -> None:
        """One row a person, if the Motion is final."""
        if not motion.final:
            return
        self._rate.add(motion)
        for p, person in enumerate(motion.ids.tolist()):
            known = known_joints(motion.poses[p], motion.world[p], motion.origin[p])
            if not np.isfinite(motion.world[p]).any():
                continue
            world = np.where(known[:, None], motion.world[p], np.nan) * _TO_OPENSIM + 0.0
            cells = [f"{value:.5f}" if np.isfinite(value) else "" for value in world.ravel()]
            row = "\t".join([str(motion.index + 1), f"{motion.time_s:.6f}", *cells]) + "\n"
            file = self._file(person)
            file.append(row.encode())
            self._rows[person] += 1

    def _person_path(self, person: int) -> Path:
        return self._path.with_name(f"{self._path.stem}_person{person}.trc")

    def _file(self, person: int) -> PartFile:
        file = self._files.pop(person, None)
        if file is None:
            path = self._person_path(person)
            if person in self._rows:
                file = PartFile(path, resume=True)
            else:
                file = PartFile(path, self._header(path))
                self._rows[person] = 0
                self.paths.append(path)
        self._files[person] = file
        # A camera sees many people in a day; the first of the files belongs to somebody who has probably gone.
        if len(self._files) > _OPEN_FILES:
            self._set_aside(next(iter(self._files)))
        return file

    def _set_aside(self, person: int) -> None:
        file = self._files.pop(person)
        try:
            file.rewrite(0, self._header(file.path, self._rows[person]))
        finally:
            file.finish()

    def _finish(self) -> None:
        with ExitStack() as every_file:
            for person in self._rows:
                every_file.callback(self._complete, person)

    def _complete(self, person: int) -> None:
        self._file(person)  # open once more, because the average rate is known only now
        self._set_aside(person)

    def _header(self, path: Path, rows: int = 0) -> bytes:
        """The five lines above the rows. Padding keeps the length of the line with the numbers that change."""
        joints = self._joints
        rate = f"{self._rate.hz or GRID_HZ:.6g}"
        counts = "\t".join([rate, rate, str(rows), str(len(joints)), "m", rate, "1", str(rows)])
        names = "\t\t\t".join(joints)
        axes = "\t".join(f"{axis}{j + 1}" for j in range(len(joints)) for axis in "XYZ")
        lines = (
            f"PathFileType\t4\t(X/Y/Z)\t{shown(path.name)}",
            "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
            counts.ljust(_COUNTS_WIDTH),
            f"Frame#\tTime\t{names}\t\t",
            f"\t\t{axes}",
            "",
        )
        return ("\n".join(lines) + "\n").encode()

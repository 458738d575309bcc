"""What an estimator in another process, or behind a socket, does: a body that moves to the right, from numpy alone."""

from __future__ import annotations

import json
import socket

import numpy as np


def pose_at(time_s: float) -> np.ndarray:  # -> [17, 2] pixels
    """COCO-17's joints in a row of three, 40 pixels further to the right each second."""
    joints = np.arange(17)
    return np.stack([20.0 + joints % 3 * 6 + 40 * time_s, 8.0 + joints // 3 * 6], axis=1)


def look(rgb: np.ndarray, time_s: float) -> list[tuple[np.ndarray, None, np.ndarray]]:
    """Everybody in a picture."""
    assert rgb.shape[2] == 3
    return [(pose_at(time_s), None, np.ones(17))]


def serve(connection: socket.socket) -> None:
    """Answer each line `{"number": ..., "time_s": ...}` with the pose of that time, and each of them twice."""
    with connection, connection.makefile("rw") as lines:
        for line in lines:
            request = json.loads(line)
            answer = json.dumps({"number": request["number"], "pose": pose_at(request["time_s"]).tolist()}) + "\n"
            lines.write(answer + answer)
            lines.flush()

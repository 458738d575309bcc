"""`evaluate --preset`: a table of every published recipe, from the command line to the file of rows."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.published_data import objects, write_expmaps, write_folder
from support.smpl_bodies import JOINTS, preset_weights, saved_again

from mixsynth_stream.cli import main
from mixsynth_stream.data.deciwatch import load_pairs, load_shapes
from mixsynth_stream.errors import ModelError, SourceError
from mixsynth_stream.evaluate.smpl import BodyErrors, SmplBody
from mixsynth_stream.metrics import mpjpe
from mixsynth_stream.rotations import axis_angle_to_6d, axis_angle_to_matrix
from mixsynth_stream.skeleton import SMPL_24
from mixsynth_stream.weights import load_weights

PARENTS = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]
Evaluate = Callable[..., tuple[int, str, str]]


@pytest.fixture
def evaluate(capsys: pytest.CaptureFixture[str]) -> Evaluate:
    """Run the command: its exit code, its table, and its lines on standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        code = main(["evaluate", *map(str, words)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def data(folder: Path, preset: str) -> Path:
    if preset == "h36m-prediction":
        return write_expmaps(folder, frames=64)
    return write_folder(folder, preset, lengths=(70, 20))


def errors_in(path: Path) -> dict[tuple[str, str, str, int | None], float]:
    rows = [row for row in json.loads(path.read_text())["rows"] if row["question"] != "ahead_mean"]
    return {(row["data"], row["method"], row["metric"], row["horizon_ms"]): row["value"] for row in rows}


@pytest.mark.parametrize(
    ("preset", "columns"),
    [
        ("jhmdb", ["pck_20", "pck_10", "pck_05"]),
        ("3dpw-spin", ["mpjpe", "accel_error"]),
        ("3dpw-smpl-pare", ["geodesic"]),
    ],
)
def test_each_family_gets_its_table_and_its_rows(
    tmp_path: Path, evaluate: Evaluate, preset: str, columns: list[str]
) -> None:
    folder, weights, rows = data(tmp_path, preset), preset_weights(tmp_path, preset), tmp_path / "rows.json"
    code, out, _ = evaluate("--preset", preset, "--data", folder, "--weights", weights, "--json", rows)
    assert code == 0
    title, head, *lines = out.rstrip().splitlines()
    assert title.startswith(preset) and [column in head for column in columns] == [True] * len(columns)
    assert [line.split()[0] for line in lines] == ["network", "input", "linear"]
    values = errors_in(rows)
    assert set(values) == {(f"{preset} test", m, c, None) for m in ("network", "input", "linear") for c in columns}
    printed = [float(number) for number in lines[0].split()[1:]]
    assert printed == pytest.approx([values[f"{preset} test", "network", c, None] for c in columns], rel=2e-2, abs=1e-3)
    assert json.loads(rows.read_text())["rows"][0]["poses"] == 90


def test_prediction_has_both_sets_and_both_conventions(tmp_path: Path, evaluate: Evaluate) -> None:
    preset, rows = "h36m-prediction", tmp_path / "rows.json"
    weights = preset_weights(tmp_path, preset)
    code, out, _ = evaluate("--preset", preset, "--data", data(tmp_path, preset), "--weights", weights, "--json", rows)
    assert code == 0
    methods = ("network", "last_pose", "constant_velocity")
    lines = out.rstrip().splitlines()
    assert [line.rsplit(None, 8)[0] for line in lines[2:]] == [
        f"{s}, {m}" for s in ("validation", "test") for m in methods
    ]
    assert lines[1].split()[:6] == ["at", "80", "ms", "to", "80", "ms"]
    document = json.loads(rows.read_text())
    # The choices by which papers on this task differ.
    for text in (lines[0], document["questions"]["ahead"]):
        assert "10 frames seen at 25 Hz, mean over 32 joints, position and rotation of the root zeroed" in text
    at_400_ms = [row for row in document["rows"] if row["horizon_ms"] == 400]
    at, to = ([row for row in at_400_ms if row["question"] == question] for question in ("ahead", "ahead_mean"))
    assert len(at) == len(to) == 6 and all(0 < t["value"] < a["value"] for a, t in zip(at, to, strict=True))
    # Slow waves: going on at a damped speed beats standing still.
    values = errors_in(rows)
    assert values[f"{preset} test", "network", "mpjpe", 80] < values[f"{preset} test", "last_pose", "mpjpe", 80]


def test_it_prints_the_errors_of_training(tmp_path: Path, evaluate: Evaluate) -> None:
    pytest.importorskip("torch")
    from mixsynth_stream.train import PresetConfig, train

    preset, rows = "3dpw-smpl-pare", tmp_path / "rows.json"
    folder = data(tmp_path, preset)
    weights = train(PresetConfig(preset=preset, data=folder, out=tmp_path / "out", epochs=1, batch=64))
    assert evaluate("--preset", preset, "--data", folder, "--weights", weights, "--json", rows)[0] == 0
    metrics = load_weights(weights)[2].metrics
    for (_, method, _, _), value in errors_in(rows).items():
        assert value == pytest.approx(metrics[f"{method}/geodesic_deg"], rel=1e-3)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--preset", "jhmdb", "--weights", "w"], "--preset takes --data FOLDER"),
        (["--preset", "jhmdb", "--data", "d"], "and --weights FILE"),
        (["--preset", "jhmdb", "--data", "a", "b", "--weights", "w"], "--preset takes --data FOLDER"),
        (["--preset", "jhmdb", "--data", "d", "--weights", "w", "--model", "image-n10"], "--model does not go with"),
        (
            ["--preset", "jhmdb", "--data", "d", "--weights", "w", "--video", "v", "--train-data", "t"],
            "--video, --train",
        ),
        (["--preset", "jhmdb", "--data", "d", "--weights", "w", "--detail", "--plot", "p"], "--detail, --plot"),
        (["--preset", "jhmdb", "--data", "d", "--weights", "w", "--keep-dense", "k"], "--keep-dense does not go with"),
        (["--preset", "jhmdb", "--data", "d", "--weights", "w", "--smpl-model", "s.npz"], "and jhmdb has none"),
        (["--weights", "w"], "--weights goes with --preset only"),
        (["--smpl-model", "s.npz"], "--smpl-model goes with --preset only"),
    ],
)
def test_options_that_do_not_go_together_are_usage_errors(evaluate: Evaluate, words: list[str], sentence: str) -> None:
    code, _, err = evaluate(*words)
    (line,) = err.splitlines()
    assert code == 2 and sentence in line


def test_weights_and_data_of_something_else_are_refused(tmp_path: Path, evaluate: Evaluate) -> None:
    smpl = preset_weights(tmp_path, "3dpw-smpl-pare")
    code, _, err = evaluate("--preset", "jhmdb", "--data", tmp_path, "--weights", smpl)
    assert code == 4 and "is for SMPL-24 in rotation space, but jhmdb has JHMDB-15 in image space" in err
    centred = saved_again(preset_weights(tmp_path, "jhmdb"), normalisation="root")
    code, _, err = evaluate("--preset", "jhmdb", "--data", tmp_path, "--weights", centred)
    assert code == 4 and "wants its input normalised as root" in err
    code, _, err = evaluate("--preset", "aist-smpl", "--data", tmp_path, "--weights", smpl)
    assert code == 4 and "is for 30 frames a second, but aist-smpl has 60: its windows would last another time" in err
    long = preset_weights(tmp_path, "h36m-prediction-50")
    code, _, err = evaluate("--preset", "h36m-prediction", "--data", tmp_path, "--weights", long)
    assert code == 4 and "sees 50 frames, but h36m-prediction has 10; use weights of that preset" in err
    code, _, err = evaluate("--preset", "3dpw-smpl-pare", "--data", tmp_path, "--weights", smpl)
    assert code == 3 and "no file" in err


def test_rows_that_cannot_be_written_are_refused_at_the_start(tmp_path: Path, evaluate: Evaluate) -> None:
    words = ("--preset", "jhmdb", "--data", tmp_path, "--weights", preset_weights(tmp_path, "jhmdb"), "--json")
    for path, sentence in ((tmp_path, "a folder of that name is in the way"), (tmp_path / "none/a.json", "no folder")):
        code, _, err = evaluate(*words, path)
        assert code == 1 and sentence in err and "evaluating" not in err


def smpl_arrays(vertices: int = 60) -> dict[str, np.ndarray]:
    """A body of few vertices: joint j sits on vertex j and moves it, and those that belong to it."""
    rng = np.random.default_rng(0)
    places = np.zeros((JOINTS, 3))
    for joint in range(1, JOINTS):
        places[joint] = places[PARENTS[joint]] + rng.normal(0, 0.1, 3)
    owner = np.concatenate([np.arange(JOINTS), rng.integers(0, JOINTS, vertices - JOINTS)])
    template = places[owner] + np.concatenate([np.zeros((JOINTS, 3)), rng.normal(0, 0.03, (vertices - JOINTS, 3))])
    return {
        "v_template": template,
        # The first shape makes everybody larger.
        "shapedirs": np.stack([0.1 * template, *rng.normal(0, 0.01, (9, vertices, 3))], axis=-1),
        "posedirs": np.zeros((vertices, 3, 207)),
        "J_regressor": np.eye(JOINTS, vertices),
        "kintree_table": np.array([[2**32 - 1, *PARENTS[1:]], range(JOINTS)]),
        "weights": np.eye(JOINTS)[owner],
    }


def write_body(path: Path, **changes: np.ndarray) -> Path:
    np.savez(path, **{**smpl_arrays(), **changes})  # type: ignore[arg-type]
    return path


def test_joints_turn_about_their_parents_and_shapes_count(tmp_path: Path) -> None:
    pytest.importorskip("smplx")
    arrays = smpl_arrays()
    body = SmplBody(write_body(tmp_path / "body.npz"))
    turned = np.zeros((3, JOINTS, 3))
    turned[1, 0] = turned[2, 18] = [0, 0, np.pi / 2]  # the whole body; the left elbow
    joints, vertices = body(axis_angle_to_6d(turned), np.zeros((3, 1)))
    rest, quarter = arrays["v_template"], axis_angle_to_matrix(np.array([0, 0, np.pi / 2]))
    np.testing.assert_allclose(vertices[0], rest, atol=1e-6)
    np.testing.assert_allclose(vertices[1], rest @ quarter.T, atol=1e-6)
    elbow, wrist = rest[18], rest[20]
    np.testing.assert_allclose(joints[2, 20], elbow + quarter @ (wrist - elbow), atol=1e-6)
    np.testing.assert_allclose(
        np.delete(joints[2], [20, 22], axis=0), np.delete(rest[:24], [20, 22], axis=0), atol=1e-6
    )
    larger, _ = body(axis_angle_to_6d(turned[:1]), np.array([[2.0]]))
    np.testing.assert_allclose(larger[0], 1.2 * rest[:24], atol=1e-6)


def test_errors_are_those_of_the_bodies_in_millimetres(tmp_path: Path) -> None:
    """By hand: the estimate is turned by a tenth about the pelvis, and of another size."""
    pytest.importorskip("smplx")
    preset = "3dpw-smpl-pare"
    folder = write_folder(tmp_path, preset, lengths=(90,))
    path = folder / "detected_poses/pw3d/pare/pw3d_pare_test.npz"
    with np.load(path, allow_pickle=True) as file:
        columns = dict(file)
    np.savez(path, **{**columns, "shape": objects([np.tile([0.5, *[0] * 9], (90, 1))])})
    body = SmplBody(write_body(tmp_path / "body.npz"))
    pairs, shapes = load_pairs(folder, preset, "test"), load_shapes(folder, preset, "test")
    assert [one.shape for one in shapes[0]] == [(90, 10), (90, 10)] and (shapes[0][1][:, 0] == 0.5).all()
    rotations = pairs[0].truth.copy()
    rotations[:, 0] = (axis_angle_to_matrix(np.array([0, 0.1, 0])) @ rotations[:, 0].reshape(-1, 3, 2)).reshape(-1, 6)
    errors = BodyErrors(body, pairs, shapes)(0, rotations)

    (joints, vertices), (true_joints, true_vertices) = body(rotations, shapes[0][1]), body(pairs[0].truth, shapes[0][0])
    words = ("ankle", "knee", "hip", "wrist", "elbow", "shoulder", "neck")
    judged = [joint for joint, name in enumerate(SMPL_24.joints) if any(word in name for word in words)]
    assert len(judged) == 13
    from_hips, true_from_hips = (one - one[:, [1, 2]].mean(1, keepdims=True) for one in (joints, true_joints))
    by_hand = mpjpe(from_hips[:, judged], true_from_hips[:, judged])
    np.testing.assert_allclose(errors["mpjpe_mm"], 1000 * by_hand, rtol=1e-6)
    by_hand = mpjpe(vertices - joints[:, :1], true_vertices - true_joints[:, :1])
    np.testing.assert_allclose(errors["mpvpe_mm"], 1000 * by_hand, rtol=1e-6)
    assert errors["mpjpe_mm"].min() > 5 and len(errors["accel_mm"]) == 88


def test_the_table_has_joints_and_vertices_with_a_body(tmp_path: Path, evaluate: Evaluate) -> None:
    pytest.importorskip("smplx")
    preset = "3dpw-smpl-pare"
    folder, weights = data(tmp_path, preset), preset_weights(tmp_path, preset)
    body, rows = write_body(tmp_path / "body.npz"), tmp_path / "rows.json"
    code, out, _ = evaluate(
        "--preset", preset, "--data", folder, "--weights", weights, "--smpl-model", body, "--json", rows
    )
    assert code == 0 and "mpvpe, mm" in out
    values = errors_in(rows)
    for metric in ("geodesic", "mpjpe", "mpvpe", "accel_error"):
        assert 0 < values[f"{preset} test", "network", metric, None] < values[f"{preset} test", "input", metric, None]


def test_a_data_set_without_shapes_has_the_mean_one(tmp_path: Path) -> None:
    """As AIST++: its truth has no shape."""
    folder = write_folder(tmp_path, "aist-smpl", lengths=(120, 30))
    path = folder / "groundtruth_poses/aist/aist_gt_test.npz"
    with np.load(path, allow_pickle=True) as file:
        columns = {name: value for name, value in file.items() if name != "shape"}
    np.savez(path, **columns)
    shapes = load_shapes(folder, "aist-smpl", "test")
    assert [(len(a), len(b), float(np.abs(a).max())) for a, b in shapes] == [(120, 120, 0.0), (30, 30, 0.0)]
    np.savez(path, **columns, shape=objects([np.ones((120, 10)), np.ones((7, 10))]))
    with pytest.raises(SourceError, match=r"shape of sequence 1 is \[7, 10\], expected finite numbers for 30 frames"):
        load_shapes(folder, "aist-smpl", "test")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"weights": np.zeros((60, 52))}, r"weights is \[60, 52\], expected \[60, 24\] for SMPL's 24 joints \(SMPL-H"),
        ({"shapedirs": np.zeros((50, 3, 10))}, r"shapedirs is \[50, 3, 10\], expected \[60, 3, shapes\]"),
        ({"J_regressor": np.array(object())}, "no SMPL model can be read: .* only arrays, numbers and text"),
    ],
)
def test_model_files_that_are_no_smpl_are_refused(
    tmp_path: Path, changes: dict[str, np.ndarray], sentence: str
) -> None:
    with pytest.raises(ModelError, match=sentence):
        SmplBody(write_body(tmp_path / "body.npz", **changes))


def test_pickled_models_and_a_missing_package_say_what_to_do(
    tmp_path: Path, evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = "3dpw-smpl-pare"
    words = ("--preset", preset, "--data", data(tmp_path, preset), "--weights", preset_weights(tmp_path, preset))
    code, _, err = evaluate(*words, "--smpl-model", tmp_path / "SMPL_NEUTRAL.pkl")
    assert code == 4 and "is a pickle, which is never opened here" in err
    code, _, err = evaluate(*words, "--smpl-model", tmp_path / "none.npz")
    assert code == 4 and "there is no file" in err
    for name in ("smplx", "smplx.lbs"):
        monkeypatch.setitem(sys.modules, name, None)
    code, _, err = evaluate(*words, "--smpl-model", write_body(tmp_path / "body.npz"))
    assert code == 4 and "pip install 'mixsynth-stream[smpl]'" in err and "Traceback" not in err

"""Addresses are shown, logged and written without what only their owner may know."""

from __future__ import annotations

import json
import logging

import av
import pytest
from support import clips
from support.fakes import models

from mixsynth_stream.errors import SourceError
from mixsynth_stream.export.header import Header
from mixsynth_stream.job.outputs import folders
from mixsynth_stream.pipeline.estimators.choose import as_estimator
from mixsynth_stream.pipeline.sources.capture import LiveReader
from mixsynth_stream.pipeline.stream import Stream
from mixsynth_stream.redact import redacted

SECRET = "s3:cr@et"
ADDRESS = f"rtsp://admin:{SECRET}@10.0.0.7/live?channel=1&password={SECRET}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:s3cret@host:554/a", "rtsp://admin:***@host:554/a"),
        ("rtsp://admin:s3:cr@et@host/a", "rtsp://admin:***@host/a"),
        ("https://ghp_token@host/a.mp4", "https://***@host/a.mp4"),
        ("http://host/a?user=b&PWD=s3cret&n=1", "http://host/a?user=b&PWD=***&n=1"),
        ("http://host/a?X-Amz-Signature=12ab", "http://host/a?X-Amz-Signature=***"),
        ("rtmp://host/live?auth_key=12ab was lost", "rtmp://host/live?auth_key=*** was lost"),
        ("two: rtsp://a:b@c/d and rtsp://e:f@g/h", "two: rtsp://a:***@c/d and rtsp://e:***@g/h"),
        ("http://host:80/a@b?page=2#key=3", "http://host:80/a@b?page=2#key=3"),
        ("mail@host.org/clip.mp4?key=1", "mail@host.org/clip.mp4?key=1"),
    ],
)
def test_secrets_are_hidden_and_nothing_else(text, shown):
    assert redacted(text) == shown


def test_a_camera_that_is_lost_tells_nobody_its_password(tmp_path, caplog):
    clip = clips.make(tmp_path / "a.mp4", frames=20, size=(64, 48))
    files = iter([str(clip), str(tmp_path / "gone.mp4"), str(tmp_path / "gone.mp4")])
    reader = LiveReader(ADDRESS, opener=lambda: av.open(next(files)), retries=1, pause_s=lambda _: 0.0)
    nobody = as_estimator(lambda rgb, time_s: [], "BlazePose-33")
    with (
        caplog.at_level(logging.DEBUG),
        Stream(reader, models=models(), estimator=nobody) as stream,
        pytest.raises(SourceError, match=r"rtsp://admin:\*\*\*@10.0.0.7/live") as raised,
    ):
        list(stream)
    header = json.dumps(Header.of(stream.info, Header().settings).as_json())
    assert "admin:***@10.0.0.7" in header and "was lost" in caplog.text
    for text in (str(raised.value), header, caplog.text):
        assert "cr@et" not in text


def test_folders_are_not_named_after_secrets(tmp_path):
    names = [path.name for path in folders([ADDRESS, "https://token@host/a.mp4?sig=1", "b.mp4"], tmp_path)]
    assert names == ["live", "a", "b"]

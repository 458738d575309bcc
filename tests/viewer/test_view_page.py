"""The page of the view in a real browser: people are drawn and move, controls work, other sites see nothing."""

from __future__ import annotations

import functools
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.browser import CHROMIUM, NO_CHROMIUM, Browser, Page
from support.moving_stream import MovingStream, x_px

from mixsynth_stream.pipeline.frame import SourceEvent
from mixsynth_stream.viewer.web.access import Address
from mixsynth_stream.viewer.web.view import WebView

pytest.importorskip("websockets", reason="the view in a browser needs websockets: make dev")
if CHROMIUM is None:
    pytest.skip(NO_CHROMIUM, allow_module_level=True)

# Where the shoulders' green (left) and orange (right) stand in the picture, in its pixels; null where there are none.
SHOULDERS = """(() => {
  const canvas = document.getElementById("picture"), context = canvas.getContext("2d");
  const scale = Math.min(canvas.width / 640, canvas.height / 480);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const sums = { green: [0, 0], orange: [0, 0] };
  for (let i = 0; i < data.length; i += 4) {
    const [r, g, b] = [data[i], data[i + 1], data[i + 2]];
    const name = g > 230 && r < 60 && b < 60 ? "green" : r > 230 && g > 100 && g < 160 && b < 60 ? "orange" : null;
    if (name) { sums[name][0] += 1; sums[name][1] += (i / 4) % canvas.width; }
  }
  const place = ([count, sum]) => count > 30 ? (sum / count - (canvas.width - 640 * scale) / 2) / scale : null;
  return { left: place(sums.green), right: place(sums.orange), time: Number(document.body.dataset.time) };
})()"""


class Shown:
    """A view whose stream goes on in a thread until it is halted."""

    def __init__(self) -> None:
        self.stream = MovingStream()
        self.view = WebView(self.stream, Address(port=0))
        self._goes_on = threading.Event()
        self._has_ended = threading.Event()
        self.resume()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def resume(self) -> None:
        self._goes_on.set()

    def halt(self) -> None:
        self._goes_on.clear()

    def close(self) -> None:
        self._has_ended.set()
        self._goes_on.set()
        self._thread.join()
        self.view.close()

    def _run(self) -> None:
        while not self._has_ended.is_set():
            self._goes_on.wait()
            self.stream.write_for(self.view, 0.1)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def shown() -> Iterator[Shown]:
    shown = Shown()
    try:
        yield shown
    finally:
        shown.close()


@pytest.fixture
def page(shown: Shown, browser: Browser) -> Iterator[Page]:
    page = browser.open(shown.view.url)
    page.wait_for("document.body.dataset.state === 'live' && document.body.dataset.people === '1'")
    page.wait_for(f"{SHOULDERS}.left")
    yield page
    assert page.errors == []


def test_the_skeleton_is_drawn_where_the_person_is_and_moves(page: Page) -> None:
    page.run("for (const id of ['ghost', 'final', 'sigma', 'ids']) document.getElementById(id).checked = false")
    places = []
    for _ in range(8):
        time.sleep(0.25)
        seen = page.run(SHOULDERS)
        middle = (seen["left"] + seen["right"]) / 2
        assert middle == pytest.approx(x_px(seen["time"]), abs=8)
        assert seen["left"] > middle > seen["right"]
        places.append(middle)
    assert max(places) - min(places) > 60


def test_the_user_chooses_among_several_sources(browser: Browser) -> None:
    other = MovingStream()
    with WebView(None, Address(port=0), source="webcam", others=["rtsp://camera/2"]) as view:
        view.watch(other, 1)
        page = browser.open(view.url)
        page.wait_for("document.body.dataset.state === 'opening'")
        page.run("""(() => { const choice = document.getElementById("sources");
          choice.value = "1"; choice.dispatchEvent(new Event("change")); })()""")
        page.wait_for("document.body.dataset.state === 'waiting'")
        other.write_for(view.sink(1), 0.2)
        page.wait_for("document.body.dataset.people === '1'")
        shown = page.run("""(() => { const choice = document.getElementById("sources");
          return [...choice.options].map(({ text }) => text).concat(choice.value, choice.hidden); })()""")
        assert shown == ["webcam", "rtsp://camera/2", "1", False]
        assert page.errors == []


def test_everybody_as_of_the_picture(page: Page) -> None:
    page.click("now")
    time.sleep(0.3)
    late = page.run("""new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(() =>
      resolve(Number(document.body.dataset.time) - Number(document.body.dataset.picture)))))""")
    assert late == 0


def test_the_picture_of_the_video_is_there(page: Page) -> None:
    grey = """(() => { const c = document.getElementById("picture");
      return [...c.getContext("2d").getImageData(c.width / 2, c.height - 40, 1, 1).data]; })()"""
    page.wait_for(f"{grey}[0] > 40")
    assert all(40 < value < 110 for value in page.run(grey)[:3])


def test_poses_are_drawn_at_the_rate_of_the_display(page: Page) -> None:
    count = """new Promise(resolve => {
      const times = new Set(), frames = new Set(), end = performance.now() + 1500;
      const look = () => { times.add(document.body.dataset.time); frames.add(document.body.dataset.frame);
        performance.now() < end ? requestAnimationFrame(look) : resolve([times.size, frames.size]); };
      look(); })"""
    # A browser on a busy machine draws less often, at times.
    assert any(drawn > 1.2 * frames > 12 for drawn, frames in (page.run(count) for _ in range(8)))


def test_mirror_by_click_and_by_key(page: Page) -> None:
    seen = page.run(SHOULDERS)
    assert seen["left"] > seen["right"]
    page.click("mirror")
    page.wait_for(f"(s => s.left < s.right)({SHOULDERS})")
    page.press("m")
    page.wait_for(f"(s => s.left > s.right)({SHOULDERS})")


def test_a_camera_that_is_lost_is_told_with_its_reason_and_events(page: Page, shown: Shown) -> None:
    shown.halt()
    shown.view.tell(SourceEvent("lost", 1.2, 30, "it ended"))
    page.wait_for("document.body.dataset.state === 'lost'")
    notice = "document.getElementById('notice')"
    assert page.run(f"{notice}.innerText") == "camera lost, trying again (it ended)"
    page.wait_for("document.getElementById('events').innerText === '1.2 s: camera lost (it ended)'")
    shown.view.tell(SourceEvent("back", 4.0, 30, "pictures come again"))
    shown.resume()
    page.wait_for("document.body.dataset.state === 'live'")
    assert page.run(f"{notice}.hidden")


def test_ending_the_stream_in_the_page(page: Page, shown: Shown) -> None:
    assert not shown.view.closed
    page.click("end")
    end_s = time.monotonic() + 5
    while not shown.view.closed and time.monotonic() < end_s:
        time.sleep(0.02)
    assert shown.view.closed


def test_pause_and_back_through_the_last_seconds(page: Page) -> None:
    time.sleep(2)
    page.click("pause")
    first = float(page.wait_for("document.body.dataset.shown"))
    before = page.run(SHOULDERS)
    time.sleep(0.5)
    assert page.run(SHOULDERS)["left"] == before["left"], "a paused picture stands still"
    page.press("ArrowLeft")
    second = float(page.wait_for(f"document.body.dataset.shown !== '{first}' && document.body.dataset.shown"))
    assert 0 < first - second < 0.2
    page.run("seek = document.getElementById('seek'); seek.value = 0; seek.dispatchEvent(new Event('input'))")
    oldest = float(page.wait_for(f"document.body.dataset.shown < {second} && document.body.dataset.shown"))
    assert first - oldest > 1.5
    assert page.run("document.getElementById('when').textContent").startswith("-")
    page.press(" ", " ")
    page.wait_for("document.body.dataset.shown === undefined")
    assert page.run("document.getElementById('when').textContent") == "now"


def test_ghost_final_sigma_and_ids_can_be_hidden(page: Page, shown: Shown) -> None:
    pixels = """(() => { const c = document.getElementById("picture");
      const data = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
      let white = 0, tinted = 0;
      for (let i = 0; i < data.length; i += 4) {
        const [r, g, b] = [data[i], data[i + 1], data[i + 2]];
        if (r > 240 && g > 240 && b > 240) white += 1;
        if (Math.max(r, g, b) - Math.min(r, g, b) > 12) tinted += 1;
      } return [white, tinted]; })()"""
    page.click("pause")
    page.wait_for(f"{SHOULDERS}.left && document.body.dataset.shown")
    shown.halt()
    white, tinted = page.run(pixels)
    for name in ("sigma", "ghost"):
        page.click(name)
        _, less = page.run(pixels)
        assert less < tinted, name
        tinted = less
    page.click("ids")
    assert page.run(pixels)[0] < white


def test_charts_and_numbers_of_latency_drops_and_errors(page: Page, shown: Shown) -> None:
    shown.stream.stats.count("dropped_consumer_behind", 5)
    page.wait_for("document.getElementById('latency').textContent.includes('p99 4.0 ms')")
    page.wait_for("document.getElementById('drops').textContent === 'dropped consumer behind 5'")
    page.wait_for("document.getElementById('error').textContent.startsWith('0.80 of the best')")
    cells = page.run("[...document.querySelectorAll('#errors tr')].map(row => row.innerText.split('\\t'))")
    assert cells[0] == ["ahead", "network", "hold", "velocity", "Kalman"]
    assert cells[1] == ["100 ms", "0.040", "0.080", "0.060", "0.050"]
    method = "document.getElementById('method').textContent"
    assert page.run(method) == "the network forecasts now"
    shown.stream.score.method = "kalman"
    page.wait_for(f"{method} === 'Kalman was better and forecasts now'")
    for name in ("latency-chart", "drops-chart", "error-chart"):
        page.wait_for(f"""(() => {{ const c = document.getElementById("{name}");
          return c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some(value => value > 0); }})()""")


def test_a_recording_is_saved(page: Page, browser: Browser, tmp_path: Path) -> None:
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.click("record")
    time.sleep(1.5)
    page.click("record")
    page.wait_for("Number(document.body.dataset.recorded) > 1000")
    end_s = time.monotonic() + 10
    while not (files := [path for path in tmp_path.iterdir() if path.suffix in (".webm", ".mp4")]):
        assert time.monotonic() < end_s, list(tmp_path.iterdir())
        time.sleep(0.1)
    import av

    with av.open(str(files[0])) as recording:
        assert sum(1 for _ in recording.decode(video=0)) > 10


def test_a_camera_that_is_lost_is_told_and_comes_back(page: Page, shown: Shown) -> None:
    shown.halt()
    page.wait_for("document.body.dataset.state === 'lost'")
    assert page.run("document.getElementById('notice').textContent") == "camera lost, trying again"
    assert not page.run("document.getElementById('notice').hidden")
    shown.resume()
    page.wait_for("document.body.dataset.state === 'live' && document.getElementById('notice').hidden")


def test_the_end_of_the_stream_is_told_and_the_next_one_is_shown(shown: Shown, browser: Browser) -> None:
    page = browser.open(shown.view.url)
    page.wait_for("document.body.dataset.state === 'live'")
    shown.view.close()
    page.wait_for("document.getElementById('state').textContent === 'the stream has ended'")
    time.sleep(1.5)  # the page has tried again by then
    assert page.run("document.body.dataset.state") == "ended"
    again = MovingStream()
    with WebView(again, Address(port=shown.view.server.port)) as view:
        again.write_for(view, 3.0)
        page.wait_for("Number(document.body.dataset.time) > 1")
    assert page.errors == []


# What a hostile site would try: a WebSocket, the page in a frame, and its script.
HOSTILE = """<!doctype html><body><script>
const results = {};
const socket = new WebSocket("ws://127.0.0.1:%(port)d/stream");
socket.onopen = () => { results.socket = "open"; };
socket.onerror = () => { results.socket ??= "refused"; };
fetch("http://127.0.0.1:%(port)d/main.js")
  .then(() => { results.fetch = "read"; }, () => { results.fetch = "refused"; });
const frame = document.createElement("iframe");
frame.src = "http://127.0.0.1:%(port)d/";
frame.onload = () => { try { frame.contentDocument.title; } catch { results.frame = "closed"; } };
document.body.append(frame);
</script>"""


def test_another_site_sees_nothing(shown: Shown, browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(HOSTILE % {"port": shown.view.server.port})
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        try:
            for name in ("localhost", "127.0.0.1"):  # another port of the same host is another site, too
                page = browser.open(f"http://{name}:{site.server_port}/index.html")
                results = page.wait_for("results.socket && results.fetch && results")
                assert (results["socket"], results["fetch"]) == ("refused", "refused"), json.dumps(results)
        finally:
            site.shutdown()
    assert shown.view.server.viewers == 0


def test_beyond_loopback_the_printed_address_works_and_the_bare_one_does_not(browser: Browser) -> None:
    stream = MovingStream()
    with WebView(stream, Address("0.0.0.0", 0)) as view:
        stream.write_for(view, 0.2)
        address = f"http://127.0.0.1:{view.server.port}/?{view.url.partition('?')[2]}"
        page = browser.open(address)
        page.wait_for("document.body.dataset.people === '1'")
        bare = browser.open(address.partition("?")[0])
        bare.wait_for("document.body.dataset.state === 'refused'")
        assert bare.run("document.body.dataset.people") is None

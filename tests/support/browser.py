"""A real headless Chromium, driven by its DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NO_CHROMIUM = "a page is tested in Debian's chromium, which is not installed: apt-get install chromium"
# It must reach nothing but this machine, and look for nothing elsewhere.
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-pings",
    "--metrics-recording-only",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--remote-debugging-port=0",
    "--window-size=1280,800",
)
_START_S = 30.0


class Browser:
    """`with Browser(folder) as browser: page = browser.open(url)`."""

    def __init__(self, folder: Path) -> None:
        assert CHROMIUM is not None, NO_CHROMIUM
        self._log = folder / "chromium.log"
        home = folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"HOME": str(home)}
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [CHROMIUM, *_OPTIONS, f"--user-data-dir={folder / 'profile'}", "about:blank"],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        self._pages: list[Page] = []
        try:
            self._devtools = self._address()
        except BaseException:
            self.close()
            raise

    def _address(self) -> str:
        end_s = time.monotonic() + _START_S
        while time.monotonic() < end_s and self._process.poll() is None:
            if match := re.search(r"DevTools listening on (ws://\S+)", self._log.read_text()):
                return match[1]
            time.sleep(0.05)
        raise AssertionError(f"chromium does not start:\n{self._log.read_text()[-2000:]}")

    def open(self, url: str) -> Page:
        """A new page. It need not have loaded when this returns: `Page.wait_for` something."""
        from websockets.sync.client import connect

        with connect(self._devtools) as browser:
            browser.send(json.dumps({"id": 1, "method": "Target.createTarget", "params": {"url": "about:blank"}}))
            target = next(m for m in map(json.loads, browser) if m.get("id") == 1)["result"]["targetId"]
        page = Page(f"{self._devtools.partition('/devtools')[0]}/devtools/page/{target}")
        self._pages.append(page)
        page.call("Page.enable")
        page.call("Runtime.enable")
        page.call("Page.navigate", url=url)
        return page

    def close(self) -> None:
        for page in self._pages:
            page.close()
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)  # its own session: the processes that it started
        self._process.wait(10)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


class Page:
    """One page of the browser. `errors` collects what its scripts complained about."""

    def __init__(self, devtools: str) -> None:
        from websockets.sync.client import connect

        self.errors: list[str] = []
        self._numbers = itertools.count(1)
        self._context = connect(devtools, max_size=64 * 2**20, compression=None)
        self._connection = self._context.__enter__()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._connection.recv(timeout=30))
            if message.get("method") == "Runtime.exceptionThrown":
                details = message["params"]["exceptionDetails"]
                self.errors.append(details.get("exception", {}).get("description", details["text"]))
            if message.get("id") == number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result

    def run(self, script: str) -> Any:
        """The value of an expression, or of what it promises."""
        result = self._evaluate(script)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def _evaluate(self, script: str) -> dict[str, Any]:
        return self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)

    def _value_now(self, script: str) -> Any:
        """The value of an expression; None while the page does not have what it is about."""
        result = self._evaluate(script)
        return None if "exceptionDetails" in result else result["result"].get("value")

    def wait_for(self, script: str, seconds: float = 10.0) -> Any:
        """Wait until an expression is true, and return its value."""
        end_s = time.monotonic() + seconds
        while not (value := self._value_now(script)):
            assert time.monotonic() < end_s, f"{script} stays {value!r}; {self.run('document.body.innerText')!r}"
            time.sleep(0.05)
        return value

    def click(self, element_id: str) -> None:
        """A real click of the mouse in the middle of an element."""
        box = f"document.getElementById('{element_id}').getBoundingClientRect()"
        x, y = self.run(f"(r => [r.x + r.width / 2, r.y + r.height / 2])({box})")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str, text: str = "") -> None:
        """A key on the keyboard."""
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        self._context.__exit__(None, None, None)

"""Drive a headless Chromium over two pipes, by its DevTools protocol, without a package.

A message is JSON that ends in a byte 0. Chromium reads messages from file descriptor 3 and writes
replies and events to 4.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from fcntl import F_DUPFD, fcntl
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
# The pipes get the numbers 3 and 4 in a new process, which then becomes Chromium.
LAUNCH = "import os, sys; [os.dup2(int(fd), k) for k, fd in ((3, sys.argv[1]), (4, sys.argv[2]))]; "
LAUNCH += "os.execv(sys.argv[3], sys.argv[3:])"
FLAGS = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run"
PATIENCE = 60.0  # seconds for a reply, on a machine that does much else


def find() -> str | None:
    """The path of the browser, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One browser with one page. `events` are the faults that the page reported."""

    def __init__(self, path: str) -> None:
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        ours, theirs = os.pipe(), os.pipe()  # what Chromium writes; what it reads
        read, write = fcntl(theirs[0], F_DUPFD, 10), fcntl(ours[1], F_DUPFD, 10)
        command = [sys.executable, "-c", LAUNCH, str(read), str(write), path, *FLAGS.split()]
        command += [f"--user-data-dir={self.folder.name}", "--remote-debugging-pipe", "about:blank"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, pass_fds=(read, write), **quiet)
        for fd in (read, write, theirs[0], ours[1]):
            os.close(fd)
        self.incoming, self.outgoing = ours[0], theirs[1]
        self.buffer = b""
        self.count = 0
        self.session = ""
        self.events: list[str] = []
        self.loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End the browser."""
        self.process.terminate()
        self.process.wait()
        os.close(self.incoming)
        os.close(self.outgoing)
        self.folder.cleanup()

    def receive(self) -> dict[str, Any]:
        """The next message. A fault that it reports is added to `events`."""
        end = time.monotonic() + PATIENCE
        while b"\0" not in self.buffer:
            if not select.select([self.incoming], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError(f"Chromium sent nothing for {PATIENCE} s")
            received = os.read(self.incoming, 1 << 20)
            if not received:
                raise EOFError(f"Chromium ended with {self.process.wait()}")
            self.buffer += received
        text, _, self.buffer = self.buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.events.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.events.append(json.dumps(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.events.append(params["entry"]["text"])
        elif method == "Page.loadEventFired":
            self.loaded = True
        return message

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and wait for its result."""
        self.count += 1
        message: dict[str, Any] = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.outgoing, data) :]
        while True:
            reply = self.receive()
            if reply.get("id") == self.count:
                if "error" in reply:
                    raise RuntimeError(f"{method}: {reply['error']['message']}")
                return reply["result"]

    def open(self, url: str) -> None:
        """Load the page at an address, also if it is there already."""
        for address in ("about:blank", url):  # an address that differs in its # only loads nothing
            self.loaded = False
            self.call("Page.navigate", url=address)
            while not self.loaded:
                self.receive()

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a function's body in JavaScript, which may wait; `args` are `arguments`."""
        expression = f"(async (args) => {{ {script} }})({json.dumps(arguments)})"
        reply = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in reply:
            raise RuntimeError(reply["exceptionDetails"]["exception"]["description"])
        return reply["result"].get("value")

    def screen(self, width: int, height: int, *, dark: bool = False, touch: bool = False) -> None:
        """The size and the colour scheme of the screen; motion is reduced."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setTouchEmulationEnabled", enabled=touch)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        motion = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.call("Emulation.setEmulatedMedia", features=[scheme, motion])

    def press(self, key: str, code: int) -> None:
        """Press and release a key."""
        text = {"Enter": "\r"}.get(key, "")
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind, key=key, code=key, windowsVirtualKeyCode=code, text=text,
            )  # fmt: skip

    def touch(self, *points: tuple[float, float]) -> None:
        """Move one finger along points of the screen."""
        for k, (x, y) in enumerate(points):
            kind = "touchMove" if k else "touchStart"
            self.call("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Write the screen, or the whole page, as PNG."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

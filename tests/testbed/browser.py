"""A real browser for tests: chromedriver's WebDriver over HTTP, without a library for it."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
# No window, no calls of the browser's own.
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip


@dataclass(frozen=True)
class Browser:
    """One window of a browser."""

    url: str

    def call(self, method: str, path: str, payload: Any = None) -> Any:
        """Send one WebDriver command and return its value."""
        answer = requests.request(method, f"{self.url}/{path}", json=payload, timeout=30)
        value = answer.json()["value"]
        assert answer.status_code == 200, value
        return value

    def open(self, page: Path | str) -> None:
        """Go to a file, or to an address."""
        self.call("POST", "url", {"url": page if isinstance(page, str) else page.resolve().as_uri()})

    def ask(self, script: str, *args: Any) -> Any:
        """Return what JavaScript returns."""
        return self.call("POST", "execute/sync", {"script": script, "args": list(args)})

    def devtools(self, command: str, **params: Any) -> Any:
        return self.call("POST", "goog/cdp/execute", {"cmd": command, "params": params})

    def emulate(self, width: int, height: int, *, scheme: str = "light") -> None:
        """Be a phone or another window, in light or dark mode."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.devtools("Emulation.setDeviceMetricsOverride", **metrics)
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def element(self, selector: str) -> str:
        found: Mapping[str, str] = self.call("POST", "element", {"using": "css selector", "value": selector})
        return next(iter(found.values()))

    def type(self, selector: str, text: str) -> None:
        """Press keys in a field, in the place of what it holds."""
        element = self.element(selector)
        self.call("POST", f"element/{element}/clear", {})
        self.call("POST", f"element/{element}/value", {"text": text})

    def press(self, key: str) -> None:
        """Press a key (WebDriver's name of it, such as U+E007 for Enter) where the focus is."""
        keys = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.call("POST", "actions", {"actions": [{"type": "key", "id": "keyboard", "actions": keys}]})

    def log(self) -> list[str]:
        """Everything that the browser complained of."""
        return [entry["message"] for entry in self.call("POST", "se/log", {"type": "browser"})]


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with an empty profile in `folder`, which ends with the block."""
    assert CHROMIUM
    assert CHROMEDRIVER
    command = [CHROMEDRIVER, "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as driver:
        try:
            assert driver.stdout
            said = next(line for line in driver.stdout if "started successfully on port" in line)
            url = f"http://127.0.0.1:{said.rpartition(' ')[2].strip().rstrip('.')}/session"
            options = {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={folder}"]}
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            answer = requests.post(url, json={"capabilities": {"alwaysMatch": wanted}}, timeout=60)
            assert answer.status_code == 200, answer.text
            window = Browser(f"{url}/{answer.json()['value']['sessionId']}")
            try:
                yield window
            finally:
                requests.delete(window.url, timeout=30)
        finally:
            driver.terminate()

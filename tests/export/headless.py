"""A headless Chromium that draws WebGL in software."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_FLAGS = (
    "--headless=new --no-sandbox --disable-gpu-sandbox --use-gl=angle --use-angle=swiftshader --ignore-gpu-blocklist"
    " --enable-unsafe-swiftshader --disable-quic --no-first-run --disable-background-networking --disable-sync"
    " --disable-component-update --disable-dev-shm-usage --window-size=1400,1000"
)


@contextmanager
def chromium() -> Iterator[Any]:
    """A selenium driver, quit at the end."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    profile = tempfile.mkdtemp(prefix="raylift-browser-")
    for flag in (*_FLAGS.split(), f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver") or ""))
    try:
        yield driver
    finally:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)


def wait_for(browser: Any, found: Callable[[], Any], timeout_s: float = 240.0) -> Any:
    """The first true value, or what the browser's console says."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"nothing came; console: {browser.get_log('browser')}")

"""A tiny data set and a run trained on it, made by the functions under test, and a hub on the loopback interface."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

import raylift

SIZES = {
    "num_views": 2,
    "image_px": 48,
    "samples": 2000,
    "cloud_points": 500,
    "surface_points": 1000,
    "iou_points": 5000,
    "truth_resolution": 32,
    "scan_views": 12,
    "scan_px": 64,
    "val_objects": 1,
    "test_objects": 1,
}
OVERRIDES = {
    "model.conditioning.kind": "image",
    "scale.workers": 0,
    "schedule.num_steps": 60,
    "schedule.eval_every": 30,
    "schedule.checkpoint_every": 30,
    "evaluation.panels": 0,
}


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data/seats``, ``runs/seats`` and ``photo.png``, as the notebook expects it."""
    folder = tmp_path_factory.mktemp("home")
    prepared = raylift.prepare("procedural:6", folder / "data" / "seats", local=True, **SIZES)  # type: ignore[arg-type]
    assert prepared.counts["objects"] == 6
    run = raylift.train(
        "implicit/test",
        folder / "data" / "seats",
        name="seats",
        storage=folder / "runs",
        tracking="none",
        overrides=OVERRIDES,
    )
    assert (run.steps, run.folder) == (60, str(folder / "runs" / "seats"))
    assert "val/iou" in run.best_metrics
    Image.fromarray(prepared.open()[0].view().rgba).save(folder / "photo.png")
    return folder


class FakeHub(ThreadingHTTPServer):
    """The few requests of a download, for one repository.

    Args:
        repository: its name.
        folder: its files.
    """

    revision = "0123456789abcdef0123456789abcdef01234567"

    def __init__(self, repository: str, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.repository, self.folder = repository, folder

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, path: str) -> tuple[bytes, dict[str, str]] | None:
        """Body and headers of a path; None if there is nothing."""
        files = {one.name: one.read_bytes() for one in self.folder.iterdir()}
        oids = {name: hashlib.sha1(content).hexdigest() for name, content in files.items()}
        about = f"/api/models/{self.repository}"
        if path.startswith(f"{about}/tree/"):
            rows = [{"type": "file", "path": name, "size": len(files[name]), "oid": oids[name]} for name in files]
            return json.dumps(rows).encode(), {}
        if path in (about, f"{about}/revision/main"):
            siblings = [{"rfilename": name} for name in files]
            found = {"id": self.repository, "sha": self.revision, "siblings": siblings, "tags": [], "private": False}
            return json.dumps(found).encode(), {}
        name = path.rpartition("/")[2]
        if path == f"/{self.repository}/resolve/{self.revision}/{name}" and name in files:
            return files[name], {"ETag": f'"{oids[name]}"', "X-Repo-Commit": self.revision}
        return None


class _Requests(BaseHTTPRequestHandler):
    server: FakeHub

    def do_GET(self) -> None:
        found = self.server.answer(urlsplit(self.path).path)
        body, headers = found or (b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})
        self.send_response(200 if found else 404)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *values: object) -> None:
        pass


@pytest.fixture
def hub(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with ``studio/seats``, which is the run of ``home``, and an empty cache."""
    constants = pytest.importorskip("huggingface_hub.constants")
    raylift.load(home / "runs" / "seats", "cpu").save(tmp_path / "seats")
    server = FakeHub("studio/seats", tmp_path / "seats")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield server
    server.shutdown()
    server.server_close()
    thread.join()

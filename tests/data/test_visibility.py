"""What every node of a preparation must see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from raylift.core.errors import DataError, StorageError
from raylift.core.storage import Storage
from raylift.data.prepare import ingest as preparation
from raylift.data.prepare.ingest import ingest
from raylift.data.prepare.visibility import SeenHere, check_seen, local_paths, seen_here
from raylift.data.shapes.config import TINY
from raylift.data.sources.opening import open_source


@dataclass(frozen=True)
class _Nested:
    inner: Any
    uri: str
    backgrounds: Path | None = None


def test_paths_of_sources_within_sources_are_found(tmp_path: Path) -> None:
    folder, file = tmp_path / "meshes", tmp_path / "list.json"
    folder.mkdir()
    file.write_text("[]")
    (folder / "a.obj").write_text("v 0 0 0")
    source = open_source(f"folder:{folder}")
    assert local_paths(source) == [folder]
    assert local_paths(_Nested(source, str(tmp_path), file)) == [folder, tmp_path, file]
    assert local_paths(_Nested(None, "s3://bucket/seats")) == []
    assert local_paths(open_source("procedural:3")) == []


def test_a_node_that_sees_something_else_is_named(tmp_path: Path) -> None:
    import socket

    file = tmp_path / "images.json"
    file.write_text("[]")
    with seen_here([_Nested(None, "", file)], Storage.at(tmp_path / "out")) as seen:  # type: ignore[list-item]
        check_seen(seen)
        file.write_text("[1]")
        with pytest.raises(DataError, match=rf"node {socket.gethostname()} does not see {file}(.|\n)*every node"):
            check_seen(seen)
    with pytest.raises(StorageError, match=r"does not see the folder .*/out(.|\n)*s3://"):
        check_seen(SeenHere((), seen.marker))
    assert list((tmp_path / "out").iterdir()) == [], "the marker is gone"


@pytest.mark.ray
@pytest.mark.parametrize(
    ("seen", "error"),
    [(SeenHere((("/nowhere/a", None),)), DataError), (SeenHere((), "/nowhere/marker"), StorageError)],
)
def test_objects_on_a_blind_node_are_not_set_aside(
    seen: SeenHere, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nodes of this Ray see nothing of what the command is made to have seen."""

    @contextmanager
    def seen_elsewhere(sources: Sequence[Any], storage: Storage) -> Iterator[SeenHere]:
        yield seen

    monkeypatch.setattr(preparation, "seen_here", seen_elsewhere)
    with pytest.raises(error, match=r"node .* does not see(.|\n)*remedy"):
        ingest([open_source("procedural:2")], str(tmp_path), TINY)
    assert not list(tmp_path.glob("shard-*.json")), "nothing counts as finished"

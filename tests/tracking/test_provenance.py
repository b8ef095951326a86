"""Where a run's revision comes from: a checkout, an image, or nowhere."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

import raylift
from raylift.tracking.provenance import IMAGE_REVISION, git_revision, provenance_tags


def test_an_installed_package_has_its_images_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = Path(sysconfig.get_path("purelib")) / "raylift" / "__init__.py"
    monkeypatch.setattr(raylift, "__file__", str(installed))
    monkeypatch.setenv(IMAGE_REVISION, "0123abcd-dirty")
    assert git_revision() == "0123abcd-dirty"
    tags = provenance_tags()
    assert tags["git.revision"] == "0123abcd-dirty"
    assert tags["mlflow.source.git.commit"] == "0123abcd"


def test_an_uploaded_working_directory_does_not_get_its_images_revision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "raylift").mkdir()
    monkeypatch.setattr(raylift, "__file__", str(tmp_path / "raylift" / "__init__.py"))
    monkeypatch.setenv(IMAGE_REVISION, "0123abcd")
    assert git_revision() == ""


def test_an_installed_package_outside_an_image_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = Path(sysconfig.get_path("purelib")) / "raylift" / "__init__.py"
    monkeypatch.setattr(raylift, "__file__", str(installed))
    monkeypatch.delenv(IMAGE_REVISION, raising=False)
    assert "git.revision" not in provenance_tags()

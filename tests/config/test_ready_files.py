"""Sweeps and tables by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from raylift.config.ready_files import find_file
from raylift.core.errors import ConfigError
from raylift.sweeps.config import READY as SWEEPS
from raylift.sweeps.config import read_sweep
from raylift.tables.paper_table import READY as TABLES
from raylift.tables.paper_table import load_table

TUNING = Path(__file__).parents[2] / "tuning"


def test_what_is_ready_is_what_tuning_holds() -> None:
    assert SWEEPS.resolve() == TUNING / "sweeps"
    assert TABLES.resolve() == TUNING / "tables"


def test_a_name_and_a_path_are_the_same_file() -> None:
    assert read_sweep(Path("implicit_fourier")) == read_sweep(TUNING / "sweeps" / "implicit_fourier.json")
    assert load_table(Path("implicit_1")) == load_table(TUNING / "tables" / "implicit_1.json")


def test_a_file_of_the_user_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "implicit_1").write_text("{}")
    assert find_file(Path("implicit_1"), TABLES) == Path("implicit_1")


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="nothing ready is called 'implicit_fourrier'") as caught:
        read_sweep(Path("implicit_fourrier"))
    assert caught.value.remedy == "did you mean 'implicit_fourier'?"
    with pytest.raises(ConfigError, match=r"cannot read the sweep elsewhere/implicit_fourier.json"):
        read_sweep(Path("elsewhere/implicit_fourier.json"))

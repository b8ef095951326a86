"""The spool keeps everything once, and survives its writer."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path

import pytest

from raylift.tracking.spool import Spool


def test_metrics_come_back_in_order_and_whole(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add_metrics({"a": 1.5, "b": math.nan}, 3)
    spool.add_metrics({"a": -math.inf}, 4)
    found = spool.unsent_metrics(10)
    assert [(metric.key, metric.step) for metric in found] == [("a", 3), ("b", 3), ("a", 4)]
    assert found[0].value == 1.5
    assert math.isnan(found[1].value)
    assert found[2].value == -math.inf
    spool.close()


def test_a_step_is_kept_once(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add_metrics({"a": 1.0}, 1)
    spool.add_metrics({"a": 2.0, "b": 3.0}, 1)
    assert [(metric.key, metric.value) for metric in spool.unsent_metrics(10)] == [("a", 1.0), ("b", 3.0)]
    assert spool.last_step("a") == 1
    assert spool.last_step("nothing") == -1
    spool.close()


def test_a_value_that_replaces_another_is_kept_and_unsent_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add_metrics({"a": 1.0}, 1)
    (first,) = spool.unsent_metrics(10)
    spool.add_metrics({"a": 2.0}, 1, replace=True)
    # The first may be on its way: that it has arrived says nothing of the second.
    spool.mark_metrics_sent([first.id])
    (second,) = spool.unsent_metrics(10)
    assert (first.replaces, second.value, second.replaces) == (False, 2.0, True)
    spool.close()


def test_what_a_dead_writer_left_is_found_by_the_next(tmp_path: Path) -> None:
    first = Spool(tmp_path)
    key = first.read_identity()["run_key"]
    first.add_metrics({"a": 1.0}, 1)
    first.add_event("tags", {"x": "y"})
    first.close()
    second = Spool(tmp_path)
    assert second.writer == first.writer
    assert second.num_unsent() == 2
    assert second.read_identity()["run_key"] == key
    event = second.unsent_event()
    assert event is not None
    assert event.payload == {"x": "y"}
    second.mark_event_sent(event)
    second.mark_metrics_sent([metric.id for metric in second.unsent_metrics(10)])
    assert second.num_unsent() == 0
    second.close()


def test_two_live_writers_keep_out_of_each_others_way(tmp_path: Path) -> None:
    first, second = Spool(tmp_path), Spool(tmp_path)
    assert first.writer != second.writer
    assert first.read_identity() == second.read_identity()
    first.close()
    second.close()


def test_adopted_files_outlive_the_callers_and_go_once_sent(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    source = tmp_path / "scores.txt"
    source.write_text("good")
    copy = spool.copy_in(source)
    source.unlink()
    assert copy.read_text() == "good"
    spool.add_event("artifact", {"path": str(copy), "folder": ""})
    event = spool.unsent_event()
    assert event is not None
    spool.mark_event_sent(event)
    assert not copy.exists()
    spool.close()


def test_refusals_are_remembered_with_their_reason(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add_event("params", {"a": "1"})
    event = spool.unsent_event()
    assert event is not None
    spool.mark_event_sent(event, refused="another value")
    assert spool.refusals() == ["params: another value"]
    assert spool.unsent_event() is None
    spool.close()


def test_a_closed_spool_takes_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.close()
    with pytest.raises(sqlite3.ProgrammingError):
        spool.add_metrics({"a": 1.0}, 1)

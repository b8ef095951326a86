"""Runs notebooks cell by cell in this process, as Jupyter does: the value of a cell's last expression is its output.

A kernel of its own would import torch and Ray anew, and add two dozen packages to the tests' environment.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any


def code_cells(notebook: Path) -> list[str]:
    """The sources of a notebook's code cells.

    Raises:
        AssertionError: it is not nbformat 4, or keeps outputs or counts, which differ from run to run.
    """
    content = json.loads(notebook.read_text())
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    assert content["metadata"]["kernelspec"]["language"] == "python"
    ids = [cell["id"] for cell in content["cells"]]
    assert len(set(ids)) == len(ids)
    assert all({"cell_type", "id", "metadata", "source"} <= set(cell) for cell in content["cells"])
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    return ["".join(cell["source"]) for cell in code]


def run_notebook(notebook: Path) -> list[Any]:
    """Run every code cell in one namespace; returns the value of each, None without one."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    values = []
    for number, source in enumerate(code_cells(notebook)):
        tree = ast.parse(source)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        where = f"{notebook.name}, cell {number}"
        exec(compile(tree, where, "exec"), namespace)
        values.append(None if last is None else eval(compile(ast.Expression(last.value), where, "eval"), namespace))
    return values

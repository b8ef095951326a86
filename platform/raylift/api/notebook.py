"""The project's viewer inside a notebook's cell."""

from __future__ import annotations

import html
from collections.abc import Sequence

from raylift.export.viewer import ViewerRow, render_page

MAX_FACES = 60_000
"""Faces per mesh: a notebook keeps its outputs in its file."""
HEIGHT_PX = 540


def viewer_frame(rows: Sequence[ViewerRow], title: str) -> str:
    """The viewer's page as a frame that needs no file, no server and no network."""
    page = html.escape(render_page(rows, title, max_faces=MAX_FACES), quote=True)
    style = f"width: 100%; height: {HEIGHT_PX}px; border: 0"
    return f'<iframe title="{html.escape(title)}" sandbox="allow-scripts" style="{style}" srcdoc="{page}"></iframe>'

"""Where shapes come from: one file a data set layout."""

from raylift.data.sources.base import Source, SourceItem
from raylift.data.sources.opening import SOURCE_KINDS, Selection, open_source, select_items

__all__ = ["SOURCE_KINDS", "Selection", "Source", "SourceItem", "open_source", "select_items"]

"""Where shapes and images come from: one file a data set layout."""

from raylift.data.sources.base import AnySource, ImageSource, Source, SourceItem
from raylift.data.sources.opening import (
    IMAGE_SOURCE_KINDS,
    SOURCE_KINDS,
    Selection,
    open_source,
    select_items,
    source_data_kind,
)

__all__ = [
    "IMAGE_SOURCE_KINDS",
    "SOURCE_KINDS",
    "AnySource",
    "ImageSource",
    "Selection",
    "Source",
    "SourceItem",
    "open_source",
    "select_items",
    "source_data_kind",
]

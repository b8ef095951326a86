"""One file a data-set layout."""

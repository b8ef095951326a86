"""Sources to shards: planned, split, made in parallel, resumed."""

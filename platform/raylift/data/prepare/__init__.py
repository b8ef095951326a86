"""From sources to shards: planned, split, made in parallel, resumable."""

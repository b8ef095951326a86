"""Sources to shards to batches, on Ray Data."""

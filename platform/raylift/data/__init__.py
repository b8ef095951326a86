"""From sources to shards to batches, on Ray Data."""

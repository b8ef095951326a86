"""From shards to batches: the samples that a model requests, in one stream, through Ray Data."""

"""Shards to batches: samples as a model asks for them, in one stream, through Ray Data."""

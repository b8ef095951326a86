"""Encoders and decoders that families build from."""

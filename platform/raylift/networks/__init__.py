"""Encoders and decoders that models build from."""

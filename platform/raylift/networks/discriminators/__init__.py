"""Discriminators of real and rendered images, one logit per image and head; samples never mix."""

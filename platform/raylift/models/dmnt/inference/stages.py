"""Names of the stages of inference, as a stopwatch measures them."""

FEATURES = "features"
PREPARATION = "preparation"
"""Textures and the table of starts: once per state of the model, nothing afterwards."""
PROPOSALS = "proposals"
COARSE = "coarse look-up"
POSE = "pose refinement"
SHAPE = "shape refinement"
ANSWER = "posterior and maps"
STAGES = (FEATURES, PREPARATION, PROPOSALS, COARSE, POSE, SHAPE, ANSWER)

"""The differentiable transformation function of DMNT (appendix A.1): features of pixels, carried to a surface's texels.

Each four adjacent pixels on the object are a quadrilateral in the mesh's chart. A texel takes, from each quad that
contains its centre, the mean of the four pixels' features by inverse-bilinear weights, and averages over its quads:

    F_v = (1 / n_v) sum over quads q of sum over corners k of w_k f_k

Which quads contain a texel is found first, without channels (``coverage``); features are then gathered (``transform``).
Gradients reach features and UVs, and are exact where coverage does not change.
"""

"""A convolution divided by its spectral norm (Miyato et al. 2018)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, normalize

FIRST_ITERATIONS = 15


class SpectralConv2d(nn.Conv2d):
    """A convolution whose weight, as a matrix [out, in * k * k], has the largest singular value 1.

    The singular vectors come from one step of power iteration per forward pass in training mode, so they follow from
    the weights and the number of passes alone: every rank has the same ones. They are buffers, which a checkpoint
    keeps. Unlike PyTorch's parametrization, the module can be pickled, and the iteration ignores autocast.

    Args:
        in_channels, out_channels, kernel_size, stride, padding: as ``nn.Conv2d``.
    """

    left: Tensor
    right: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding)
        matrix = self.weight.detach().flatten(1)
        self.register_buffer("left", normalize(torch.randn(matrix.shape[0]), dim=0))
        self.register_buffer("right", normalize(torch.randn(matrix.shape[1]), dim=0))
        self.iterate(FIRST_ITERATIONS)

    @torch.no_grad()
    def iterate(self, number: int = 1) -> None:
        """Update the singular vectors by steps of power iteration."""
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = self.weight.detach().flatten(1)
            for _ in range(number):
                self.right.copy_(normalize(matrix.mT @ self.left, dim=0))
                self.left.copy_(normalize(matrix @ self.right, dim=0))

    def norm(self) -> Float[Tensor, ""]:
        """The largest singular value of the weight; differentiable, with constant singular vectors."""
        with torch.autocast(self.weight.device.type, enabled=False):
            # Copies, because the next pass changes the buffers before this pass has been differentiated.
            return self.left.clone() @ (self.weight.flatten(1) @ self.right.clone())

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Convolve by weight / norm."""
        if self.training:
            self.iterate()
        return conv2d(x, self.weight / self.norm(), self.bias, self.stride, self.padding)

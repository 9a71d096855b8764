"""A small transformer that reads an image as a row of patches, made of torch's own layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lowcap.errors import UserError


class Transformer(nn.Module):
    """Patches - linear embedding with learned positions - encoder blocks - mean over patches - linear `head`.

    Each block is a `torch.nn.TransformerEncoderLayer` without dropout, normalised first, whose feed-forward part is
    twice the width. For flat images `(B, H * W)`, logits `(B, n_outputs)`; a patch has a quarter of the image's side,
    so that there are 16. Weights start uniform as of Glorot and Bengio (2010), drawn by `seed`, biases at 0.

    Raises:
        UserError: an image whose side is no multiple of 4, or a width that is no multiple of the heads.
    """

    def __init__(
        self,
        image_shape: tuple[int, int],
        n_outputs: int,
        *,
        width: int = 32,
        blocks: int = 1,
        heads: int = 4,
        seed: int = 0,
    ):
        super().__init__()
        height, side = image_shape
        if height != side or side % 4:
            raise UserError(f"`image_shape` must be square with a side that 4 divides; got {height} x {side}")
        if width < heads or width % heads:
            raise UserError(f"`width` must be a multiple of the {heads} heads; got {width}")
        if blocks < 1:
            raise UserError(f"`blocks` must be a whole number of at least 1; got {blocks!r}")
        self.patch = side // 4
        self.embed = nn.Linear(self.patch**2, width)
        self.positions = nn.Parameter(torch.empty(16, width))
        layers = [
            nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(blocks)
        ]
        self.blocks = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_outputs)
        generator = torch.Generator().manual_seed(seed)  # torch's layers have drawn from the global one
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                nn.init.xavier_uniform_(parameter, generator=generator)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        p = self.patch
        patches = x.view(-1, 4, p, 4, p).transpose(2, 3).reshape(-1, 16, p * p)  # (B, 16, p * p)
        return self.head(self.norm(self.blocks(self.embed(patches) + self.positions)).mean(1))

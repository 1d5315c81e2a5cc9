"""ViT with a plain decoder: Dosovitskiy et al., ICLR 2021; "SETR-Naïve" of Zheng et al., CVPR 2021."""

import flax.linen as nn
import jax

from pimjax.config import ViTConfig
from pimjax.models.layers import Conv, ConvBNReLU, Dropout, Execution, dense, layer_norm, remat, resize_bilinear
from pimjax.models.segmenter import Segmenter
from pimjax.models.stems import PatchEmbedding

PATCH = 16
GRID = 14  # side of the stored position embedding, in tokens: an image of 224² pixels


class TransformerBlock(nn.Module):
    """Apply x + attention(LN(x)), then x + MLP(LN(x)), both under stochastic depth. [B, H, W, C] → the same."""

    num_heads: int
    mlp_ratio: int
    drop_path: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool, sample_ids: jax.Array | None = None) -> jax.Array:
        B, H, W, C = x.shape
        drop_path = Dropout(self.drop_path, name="drop_path")
        qkv = dense(layer_norm(x, "norm1"), 3 * C, "qkv").reshape(B, H * W, 3, self.num_heads, -1)
        y = jax.nn.dot_product_attention(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2])  # softmax in float32
        x = x + drop_path(dense(y.reshape(x.shape), C, "proj"), train, sample_ids)
        y = dense(layer_norm(x, "norm2"), self.mlp_ratio * C, "fc1")
        return x + drop_path(dense(nn.gelu(y, approximate=False), C, "fc2"), train, sample_ids)


class ViTEncoder(nn.Module):
    """Encode a normalized image [B, H, W, 3] → tokens [B, ⌈H/16⌉, ⌈W/16⌉, embed_dim], without class token.

    The learned position embedding is resized bilinearly to the image's grid.
    """

    config: ViTConfig
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, images: jax.Array, train: bool, sample_ids: jax.Array | None = None) -> jax.Array:
        c = self.config
        x = PatchEmbedding(c.embed_dim, PATCH, name="patch_embed")(images)
        position = self.param("patch_position", nn.initializers.normal(0.02), (GRID, GRID, c.embed_dim))
        x = x + resize_bilinear(position[None], *x.shape[1:3])
        x = x.astype(self.execution.dtype or x.dtype)
        block = remat(TransformerBlock, self.execution)
        (depth,), (heads,) = c.depths, c.num_heads
        for i in range(depth):
            drop_path = c.drop_path_rate * i / max(depth - 1, 1)
            x = block(heads, c.mlp_ratio, drop_path, name=f"stage0_block{i}")(x, train, sample_ids)
        return layer_norm(x, "norm0")


class ViT(Segmenter):
    """Run a ViT; 1×1 convolution, BatchNorm, ReLU; channel dropout; a classifier. Call and output: `Segmenter`.

    Logits have stride 16.
    """

    config: ViTConfig
    multiple = PATCH

    @nn.compact
    def logits(self, images: jax.Array, train: bool, sample_ids: jax.Array | None) -> jax.Array:
        c = self.config
        x = ViTEncoder(c, self.execution, name="encoder")(images, train, sample_ids)
        x = ConvBNReLU(c.decoder_channels, 1, self.execution, name="head")([x], train)
        x = Dropout(c.dropout_rate, channels=True, name="dropout")(x, train, sample_ids)
        return Conv(2, use_bias=True, name="classifier")(x)

"""ViT-B/16 with a plain decoder.

Source:     Dosovitskiy et al., ICLR 2021; decoder: SETR-Naïve, Zheng et al., CVPR 2021
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/vit_b_16.py
Loss:       cross-entropy at full size
Recipe:     PIM's optimizer, size and batch, as all networks of its benchmark
Parameters: 85,996,290
Hardware:   not trained here: no time or score to report.

ImageNet start: add --config.train.init=vit_b_16-c867db91.pth, of torchvision.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config
from pimjax.config.load import read_config
from pimjax.config.networks import ViTB16Config


def get_config() -> Config:
    """The data of configs/pim.py with another network and its loss."""
    return dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/vit_b_16",
        model=ViTB16Config(decoder_channels=256),
    )

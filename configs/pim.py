"""The published recipe: 512² inputs, Adam 6e-5 with coupled L2, constant rate, batch 28, 20 epochs.

Prepare:  pimjax prepare-data casia_v2 --from DIR, and defacto
Command:  python train.py --config configs/pim.py
Hardware: published on 2 GPUs. Not yet run by us: no time or score to report.

The published run starts both encoders and all decoders from a pretrained UPerNet: add --config.train.init=FILE. Without
it, this one starts from scratch.
20 epochs over CASIA v2 and its PIDA images (12,614 photographs, one sample each) are about 9,000 steps.
"""

from pimjax.config import Config, DataConfig


def get_config() -> Config:
    """The defaults are the published model and recipe."""
    return Config(
        workdir="runs/pim",
        data=DataConfig(train=("tfds:casia_v2",), validation=("tfds:defacto:validation",)),
    )

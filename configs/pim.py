"""The published recipe: 512² inputs, Adam 6e-5 with coupled L2, constant rate, batch 28, 20 epochs.

Command:  python train.py --config configs/pim.py --config.data.train=csv:CASIA2.csv
          --config.data.validation=csv:DEFACTO.csv (one line)
Hardware: published on 2 GPUs. Not yet run by us: no time or score to report.

The published run starts both encoders and all decoders from a pretrained UPerNet: add --config.train.init=FILE. Without
it, this one starts from scratch.
20 epochs over CASIA v2 and its PIDA images (12,614 photographs, one sample each) are about 9,000 steps.
"""

from pimjax.config import Config


def get_config() -> Config:
    """The defaults are the published model and recipe."""
    return Config(workdir="runs/pim")

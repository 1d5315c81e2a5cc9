"""MVSS protocol, as in IMDL-BenCo: CASIA v2 alone, without forgeries of our own; tested on the sets never trained on.

Prepare:  pimjax prepare-data casia_v2 --from DIR, and casia_v1
Command:  python train.py --config configs/casia2.py
Hardware: not yet run by us: no time or score to report.

12,614 images in batches of 28 are 450 steps an epoch; 150 epochs.
"""

from pimjax.config import Config, DataConfig, PidaConfig, TrainConfig


def get_config() -> Config:
    """Adam at the published rate; CASIA v1 validates."""
    return Config(
        workdir="runs/casia2",
        data=DataConfig(train=("tfds:casia_v2",), validation=("tfds:casia_v1",)),
        pida=PidaConfig(probability=0.0),
        train=TrainConfig(num_steps=67_500, validate_every=2250),
    )

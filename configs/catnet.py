"""CAT-Net protocol, as in IMDL-BenCo: several sets, 1,840 images of each an epoch, whatever their sizes.

Prepare:  pimjax prepare-data casia_v2 --from DIR, imd2020 and casia_v1; the COCO-based splices of CAT-Net ("tampCOCO")
          have no builder here: list them in CSV manifests, image,mask, one for each of its four parts
Command:  python train.py --config configs/catnet.py
Hardware: not yet run by us: no time or score to report.

The protocol also trains on FantasticReality, for which there is no builder either: add its manifest to `train`, and
another 1 to `weights`. Six sets of 1,840 in batches of 28 are 394 steps an epoch; 150 epochs.
"""

from pimjax.config import Config, DataConfig, PidaConfig, TrainConfig

COCO = tuple(f"csv:tampcoco/{part}.csv" for part in ("sp", "cm", "bcm", "bcmc"))


def get_config() -> Config:
    """Equal weights: every set gives as many samples as every other, each of its images before any a second time."""
    sets = ("tfds:casia_v2", "tfds:imd2020", *COCO)
    return Config(
        workdir="runs/catnet",
        data=DataConfig(train=sets, weights=(1.0,) * len(sets), validation=("tfds:casia_v1",)),
        pida=PidaConfig(probability=0.0),
        train=TrainConfig(num_steps=59_100, validate_every=1970),
    )

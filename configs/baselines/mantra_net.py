"""ManTra-Net, fine-tuned.

Source:     Wu et al., CVPR 2019
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/mantra_net.py
Loss:       binary cross-entropy
Recipe:     Adam 1e-4, no decay; its own fine-tuning was not published: here batch 4, 256²
Parameters: 3,804,950
Hardware:   not trained here: no time or score to report.

From scratch it stalls, as others found: add --config.train.init=ManTraNet_Ptrain4.h5. Its 385-way pretraining is not
here.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config, OptimizerConfig
from pimjax.config.load import read_config
from pimjax.config.networks import ManTraNetConfig


def get_config() -> Config:
    """The data of configs/pim.py with another network, its loss and its recipe."""
    config = dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/mantra_net",
        model=ManTraNetConfig(),
        optimizer=OptimizerConfig(learning_rate=1e-4, weight_decay=0.0),
    )
    config.data.batch_size, config.data.image_size = 4, 256
    return config

"""H-LSTM.

Source:     Bappy et al., IEEE TIP 2019
Prepare:    pimjax prepare-data casia_v2 --from DIR, and defacto
Command:    python train.py --config configs/baselines/h_lstm.py
Loss:       binary cross-entropy of both channels
Recipe:     Adam 3e-5, constant, no decay, batch 16, 256²
Parameters: 2,207,652
Hardware:   not trained here: no time or score to report.

BatchNorm keeps running averages here, unlike the release. Gray levels are saturated at 127, as the release's are;
--config.model.saturate=False leaves them as they are.
"""

import dataclasses
from pathlib import Path

from pimjax.config import Config, OptimizerConfig
from pimjax.config.load import read_config
from pimjax.config.networks import HLSTMConfig


def get_config() -> Config:
    """The data of configs/pim.py with another network, its loss and its recipe."""
    config = dataclasses.replace(
        read_config(Path(__file__).parent.parent / "pim.py"),
        workdir="runs/h_lstm",
        model=HLSTMConfig(batch_statistics=False),
        optimizer=OptimizerConfig(learning_rate=3e-5, weight_decay=0.0),
    )
    config.data.batch_size, config.data.image_size = 16, 256
    return config

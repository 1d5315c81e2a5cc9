"""`pim-small` trained further on what uploads do to a file: an experiment, not shipped (configs/README.md says why).

Command:   python train.py --config configs/pim_small_uploads.py
Score:     half of CASIA v1 as it is F1 0.620, saved again as JPEG 90 0.263; but 4.7 % of its authentic pixels marked
Time:      2,363 of 4,000 steps in 7.5 minutes on one NVIDIA H100, float32, 347 crops/s (2026-11-26); there the lease
           ended, with the rate at 6e-4
Data:      as configs/pim_small.py, and 16 screenshots and figures as authentic pictures, image by image in a table
Prepare:   as configs/pim_small.py, and data/graphics.csv
"""

from pathlib import Path

from pimjax.config import Config, UploadConfig
from pimjax.config.load import read_config


def get_config() -> Config:
    """pim_small, from its own weights, with large batches and files that were sent on."""
    config = read_config(Path(__file__).parent / "pim_small.py")
    config.workdir = "runs/pim_small_uploads"
    config.data.train = ("csv:data/bsds500.csv", "csv:data/camera_originals.csv", "csv:data/graphics.csv")
    config.data.weights = (0.55, 0.38, 0.07)
    config.data.batch_size = 64
    config.data.num_workers = 14
    config.data.validation_images = 48
    config.pida.uploads = UploadConfig(probability=0.55, cut_prob=0.15)
    config.optimizer.learning_rate = 1.5e-3
    config.optimizer.warmup_steps = 200
    config.train.init = "pim-small"
    config.train.num_steps = 4000
    config.train.validate_every = 4000
    config.train.checkpoint_every = 1000
    return config

"""The demo: a small PIM learns noise and blur forgeries in the photographs that Python packages install.

Command:   python train.py --config configs/demo.py
Then:      pimjax predict PHOTO --checkpoint runs/demo
Measured:  2 shared CPU cores, 2026-11-26: 5 minutes, validation F1 0.55 (marking everything: 0.20)
"""

from pimjax.config import (
    Config,
    DataConfig,
    MaskConfig,
    ModelConfig,
    OptimizerConfig,
    PerturbationConfig,
    PidaConfig,
    TrainConfig,
)


def get_config() -> Config:
    """Every path of the published model at a size that two CPU cores train in minutes, without a checkpoint."""
    return Config(
        workdir="runs/demo",
        model=ModelConfig(
            embed_dim=16,
            depths=(2, 1, 1, 1),  # two where a shifted window follows a plain one
            num_heads=(1, 2, 4, 8),
            window_size=4,  # divides the 16×16 tokens of a crop
            mlp_ratio=2,
            drop_path_rate=0.0,
            decoder_channels=16,
            dropout_rate=0.0,
            high_pass_init=True,
        ),
        optimizer=OptimizerConfig(learning_rate=3e-3),
        pida=PidaConfig(
            probability=1.0,
            after_jpeg=0.0,
            masks=MaskConfig(min_area=0.05, max_area=0.25),
            # The subtler members of the family take hours of training to be seen.
            perturbations=PerturbationConfig(
                jpeg=0, median=0, sharpen=0, denoise=0, resample=0, gamma=0, tone=0, remosaic=0
            ),
        ),
        data=DataConfig(image_size=64, resize_mode="crop", batch_size=16, validation_images=96, num_workers=0),
        train=TrainConfig(num_steps=800, validate_every=200, checkpoint_every=200),
    )

"""The shipped model: PIM with every module at a size that two CPU cores train in hours, for `pimjax predict`.

Command:   python train.py --config configs/pim_small.py
Data:      BSDS500 and camera originals as CSV manifests (image,segments), from config.data.train below or the flag
           --config.data.train="('csv:a.csv', 'csv:b.csv')"; --config.data.validation likewise, photographs of neither
With a card: --config.data.batch_size=128 --config.optimizer.learning_rate=4e-3 --config.train.steps=50000
           --config.data.workers=14, on one GPU
"""

from pimjax.config import (
    Config,
    DataConfig,
    ForgeryConfig,
    HistoryConfig,
    MaskConfig,
    ModelConfig,
    OptimizerConfig,
    PidaConfig,
    TrainConfig,
)


def get_config() -> Config:
    """Chosen by experiments; the table is in the README."""
    return Config(
        workdir="runs/pim_small",
        model=ModelConfig(
            patch=8,
            embed_dim=48,
            depths=(2, 2, 2),
            num_heads=(2, 4, 8),
            window=8,  # divides the 32×32 tokens of a crop
            mlp_ratio=2,
            drop_path=0.0,
            decoder_channels=32,
            decoder_dropout=0.0,
            spectral_stem=True,
        ),
        optimizer=OptimizerConfig(
            learning_rate=2e-3, schedule="cosine", final_rate=0.01, warmup=200, clip=1.0, ema=0.998
        ),
        pida=PidaConfig(
            probability=0.8,
            after_resize=0.1,
            after_jpeg=0.8,
            history=HistoryConfig(shrink=0.35, jpeg=0.9, lowest=55, aligned=0.8),
            kinds=ForgeryConfig(pida=0.25, splicing=0.55, copy_move=0.1, removal=0.1),
            masks=MaskConfig(min_area=0.03, max_area=0.4),
        ),
        data=DataConfig(
            train=("csv:../shared/data/pristine/bsds500.csv", "csv:../shared/data/pristine/camera.csv"),
            weights=(0.6, 0.4),
            validation=("csv:../shared/data/pristine/kodak.csv",),
            image_size=256,
            fit="crop",
            batch_size=8,
            validation_images=96,
            workers=0,
            keep_decoded=True,
        ),
        train=TrainConfig(steps=14000, validate_every=500, checkpoint_every=250),
    )

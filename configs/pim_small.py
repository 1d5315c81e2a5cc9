"""The model in the box (`pim-small`): PIM with every module at a size that two CPU cores train in an hour.

Command:   python train.py --config configs/pim_small.py
Score:     CASIA v1 (440) F1 0.561, AUC 0.943; IMD2020 (41) 0.351, 0.817; authentic pixels marked 1.5 % (README)
Time:      52 minutes on 2 shared CPU cores, 1.6 steps/s (2026-11-22)
Data:      BSDS500 (493 photographs with a human segmentation each; for research, cite Arbeláez et al., TPAMI 2011) and
           camera originals (crops of about 110 cameras; free to use), and for validation the 24 Kodak photographs
           (unrestricted use), which training must never see
Prepare:   pimjax prepare-data bsds500 --from DIR, camera-originals likewise (pimjax prepare-data says where they come
           from): data/bsds500.csv and data/camera_originals.csv; and the PNGs of r0k.us/graphics/kodak in data/kodak.
           The model in the box saw other crops of the same camera originals
With a card (not tried): --config.data.batch_size=64 --config.data.num_workers=14 --config.train.num_steps=50000
           --config.train.validate_every=50000
"""

from pimjax.config import (
    Config,
    DataConfig,
    DegradationConfig,
    ForgeryConfig,
    LossConfig,
    MaskConfig,
    ModelConfig,
    OptimizerConfig,
    PidaConfig,
    TrainConfig,
)


def get_config() -> Config:
    """Whole context, and forgeries that differ in their past alone beside those that show."""
    return Config(
        workdir="runs/pim_small",
        model=ModelConfig(
            patch_size=8,
            embed_dim=48,
            depths=(2, 2, 2),
            num_heads=(2, 4, 8),
            window_size=8,  # divides the 32×32 tokens of a crop
            mlp_ratio=2,
            drop_path_rate=0.0,
            decoder_channels=32,
            dropout_rate=0.0,
            spectral_stem=True,
            double_compression=True,
        ),
        optimizer=OptimizerConfig(
            learning_rate=1e-3,
            schedule="cosine",
            end_lr_factor=0.01,
            warmup_steps=100,
            grad_clip_norm=1.0,
            ema_decay=0.999,
        ),
        loss=LossConfig(dice=0.5),
        pida=PidaConfig(
            probability=0.7,
            after_resize=0.1,
            after_jpeg=0.8,
            degradation=DegradationConfig(min_scale=0.35, jpeg_prob=0.85, min_quality=60, grid_aligned_prob=0.95),
            kinds=ForgeryConfig(pida=0.15, recompressed=0.2, splicing=0.45, copy_move=0.1, removal=0.1),
            masks=MaskConfig(min_area=0.02, max_area=0.35),
        ),
        data=DataConfig(
            train=("csv:data/bsds500.csv", "csv:data/camera_originals.csv"),
            weights=(0.6, 0.4),
            validation=("folder:data/kodak",),
            image_size=256,
            resize_mode="crop",
            batch_size=4,
            validation_images=96,
            num_workers=0,
            cache_decoded=True,
        ),
        # Validated once: the best of several validations marked 2.7 % of authentic pixels, the last step 1.5 %.
        train=TrainConfig(num_steps=5000, validate_every=5000, checkpoint_every=250),
    )

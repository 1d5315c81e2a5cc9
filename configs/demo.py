from pimjax.config import Config, DataConfig, MaskConfig, ModelConfig, OptimizerConfig, PidaConfig, TrainConfig


def get_config() -> Config:
    return Config(
        workdir="runs/demo",
        model=ModelConfig(
            embed_dim=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8), mlp_ratio=2, drop_path=0.0, decoder_channels=24
        ),
        optimizer=OptimizerConfig(learning_rate=1e-3),
        pida=PidaConfig(probability=0.9, masks=MaskConfig(min_area=0.03)),
        data=DataConfig(image_size=128, fit="crop", batch_size=8, validation_images=48, workers=0),
        train=TrainConfig(steps=1000, validate_every=200, checkpoint_every=200),
    )

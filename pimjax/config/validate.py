"""Which values of a configuration do not go together. What one key may hold is declared in `pimjax.config`."""

import dataclasses

from pimjax.config import Config, LossConfig, ModelConfig, NetworkConfig
from pimjax.config.networks import COMPARED, ViTB16Config, loss_terms
from pimjax.config.values import ConfigError


def check(config: Config) -> None:
    """Raise ConfigError for values that no run can use together, naming the keys and what they may be."""
    check_model(config.model)
    _check_compared(config)
    _check_training(config)
    _check_data(config)
    _check_loss(config)


def _check_compared(config: Config) -> None:
    name, train = config.model.architecture, config.train
    if name not in COMPARED:
        return
    if name == "cat_net" and config.data.image_size % 8:
        raise ConfigError(f"config.data.image_size is {config.data.image_size}; cat_net takes whole blocks of 8 pixels")
    if isinstance(config.model, ViTB16Config) and not config.model.decoder_channels:
        raise ConfigError("config.model.decoder_channels is 0: vit_b_16 has no mask to train then; give it a width")
    if name in ("mantra_net", "span") and train.shard_optimizer:
        raise ConfigError(
            f"config.train.shard_optimizer is True; {name} constrains whole parameters after every step: leave it out"
        )
    if name == "h_lstm" and config.data.image_size != 256:
        raise ConfigError(f"config.data.image_size is {config.data.image_size}; h_lstm takes 256 alone")
    if train.sync_batch_norm:
        raise ConfigError(f"config.train: {name} is trained without sync_batch_norm; leave it out")


def _check_loss(config: Config) -> None:
    if config.model.architecture in COMPARED:
        _check_compared_loss(config)
        return
    model, loss = config.model, config.loss
    pim = isinstance(model, ModelConfig)
    decoded = (pim and model.boundary_decoder) * (loss.boundary + loss.compactness)
    decoded += (pim and model.image_decoder and model.global_stream) * loss.reconstruction
    if not any(dataclasses.astuple(loss)):
        raise ConfigError("config.loss: all weights are 0; set loss.mask")
    if not (loss.mask or loss.dice) and not decoded:
        raise ConfigError(
            "config.loss: only decoders that config.model does not have are given a weight; set loss.mask"
        )


def _check_compared_loss(config: Config) -> None:
    if config.loss != LossConfig():
        raise ConfigError("config.loss is PIM's; weigh a compared network's terms by config.compared_loss")
    terms, name = set(loss_terms(config.model)), config.model.architecture
    weights = vars(config.compared_loss) | {}
    if weights.pop("pixel") != "focal" and name != "hp_fcn":
        raise ConfigError(f"config.compared_loss.pixel is of hp_fcn alone; leave it out for {name}")
    if odd := [term for term, weight in weights.items() if weight != 1 and term not in terms]:
        raise ConfigError(f"config.compared_loss.{odd[0]}: {name} has no such term; it has {', '.join(sorted(terms))}")
    if not any(weights[term] for term in terms):
        raise ConfigError(f"config.compared_loss: all terms of {name} are switched off; leave one on")


def _check_data(config: Config) -> None:
    if config.data.weights and len(config.data.weights) != len(config.data.train):
        raise ConfigError(
            f"config.data.weights has {len(config.data.weights)} numbers for the {len(config.data.train)} sources of "
            "config.data.train; give one for each, or none"
        )
    masks = config.pida.masks
    for weights in (config.pida.kinds, config.pida.perturbations):
        if not any(dataclasses.astuple(weights)):
            raise ConfigError(f"{weights.PATH[:-1]}: all weights are 0; give one of them a positive weight")
    if not masks.smooth and not masks.superpixels:  # the two that need nothing of a source
        raise ConfigError("config.pida.masks: smooth and superpixels are 0; give one of them a positive weight")
    if masks.min_area > masks.max_area:
        raise ConfigError(
            f"config.pida.masks: min_area {masks.min_area} is above max_area {masks.max_area}; exchange them"
        )


def _check_training(config: Config) -> None:
    first_and_last = config.profile.steps
    if 0 < config.train.spike <= 1:
        raise ConfigError(
            f"config.train.spike is {config.train.spike}; a spike is more than the usual loss: above 1, or 0"
        )
    if first_and_last and not (len(first_and_last) == 2 and first_and_last[0] <= first_and_last[1]):
        raise ConfigError(f"config.profile.steps is {first_and_last}; give the first and the last step, as in (10, 12)")


def check_model(model: NetworkConfig) -> None:
    """Raise ConfigError for values with which no network can be built, naming the keys."""
    if isinstance(model, ModelConfig):
        if model.spectral_stem and model.patch_size != 8:
            raise ConfigError(
                f"config.model.patch_size is {model.patch_size}; with spectral_stem it must be 8, a JPEG block's side"
            )
        if model.double_compression and not model.spectral_stem:
            raise ConfigError(
                "config.model.double_compression is True; it is a part of spectral_stem, which must be True too"
            )
        _check_heads(model)
    if isinstance(model, ViTB16Config) and model.embed_dim % model.num_heads:
        raise ConfigError(
            f"config.model.embed_dim is {model.embed_dim}, which {model.num_heads} heads cannot share evenly; change "
            "embed_dim or num_heads"
        )


def _check_heads(model: ModelConfig) -> None:
    if len(model.depths) != len(model.num_heads):
        raise ConfigError(
            f"config.model.depths {model.depths} and num_heads {model.num_heads} must be as long as each other"
        )
    for stage, heads in enumerate(model.num_heads):
        if model.embed_dim * 2**stage % heads:
            raise ConfigError(
                f"config.model.embed_dim gives stage {stage + 1} {model.embed_dim * 2**stage} channels, "
                f"which {heads} heads cannot share evenly; change embed_dim or num_heads"
            )

"""Every key a run reads, declared once with its unit and default. Imports nothing but the standard library.

The defaults are the published model and recipe; a file under `configs/` changes what it needs.
"""

import dataclasses
from typing import Any

ARCHITECTURES = ("pim", "fcn", "unet", "deeplabv3", "vit")
LOCAL_STREAMS = ("both", "central", "radial", "none")
FUSIONS = ("lwm", "concatenation", "addition")
FITS = ("resize", "crop")
PRECISIONS = ("float32", "bfloat16")
MAPPINGS = ("pmap", "shard_map")
SCHEDULES = ("constant", "cosine")
BAD_STEPS = ("stop", "skip")


@dataclasses.dataclass
class ModelConfig:
    """The PIM network (paper, section III). The defaults are the released model: 166,620,811 parameters.

    Every ablation is one field. Switching a stream or a decoder off removes its parameters.

    Another `architecture` has the mask decoder alone and reads of these fields (published values in configs/baselines;
    PIM's defaults do not suit it):

    "fcn", "deeplabv3": ResNet with the stem's width `embed_dim` and `depths` bottleneck blocks per stage;
        `decoder_channels` of the head, `decoder_dropout`.
    "unet": `embed_dim` of the first level, which doubles with each; `depths` convolutions per level and side;
        `decoder_dropout` at the end of the contracting path.
    "vit": `embed_dim` of a token; `depths` and `num_heads`, one number each; `mlp_ratio`, `drop_path`;
        `decoder_channels`, `decoder_dropout`.
    """

    patch: int = 4  # side of the square of pixels that is one token of stage 1: 4, 8 (a JPEG block) or 16
    embed_dim: int = 96  # channels of stage 1; stage i has embed_dim * 2**(i-1)
    depths: tuple[int, ...] = (2, 2, 6, 2)  # transformer blocks per stage
    num_heads: tuple[int, ...] = (3, 6, 12, 24)  # attention heads per stage
    window: int = 7  # side of an attention window, in tokens
    mlp_ratio: int = 4  # hidden width of a block's MLP, in multiples of its channels
    drop_path: float = 0.3  # stochastic depth of the last block; rises linearly from 0
    decoder_channels: int = 512  # width of the three UPerNet decoders
    pool_bins: tuple[int, ...] = (1, 2, 3, 6)  # bins per side of the pyramid pooling
    decoder_dropout: float = 0.1  # probability that a decoder channel is dropped before the last convolution
    raster_mask: bool = True  # False: the "masked" encoder attends to its whole window
    global_stream: bool = True  # False: no masked encoder and no image decoder; the local maps are decoded unfused
    local_stream: str = "both"  # which difference convolutions: "both", "central", "radial"; "none": plain encoder only
    fusion: str = "lwm"  # how two maps are weighed: "lwm" (learned gates), "concatenation" (no gates), "addition"
    high_pass_init: bool = False  # True: the plain encoder starts from high-pass filters, to train without a checkpoint
    spectral_stem: bool = False  # True: the plain encoder's tokens are what JPEG leaves of a block; patch must be 8
    jpeg_traces: bool = False  # True: and what the whole picture's histograms tell of JPEG's; needs spectral_stem
    boundary_decoder: bool = True  # False: no boundary map, hence no boundary and no compactness loss
    image_decoder: bool = True  # False: no reconstruction, hence no reconstruction loss
    architecture: str = "pim"  # "pim", or a baseline: "fcn", "unet", "deeplabv3", "vit"


@dataclasses.dataclass
class LossConfig:
    """Weights of the terms of the training loss, the defaults as published. 0 switches a term off."""

    mask: float = 1.0
    dice: float = 0.0  # ours: 1 − the forged images' soft F1, so that a map decides at 0.5 what F1 rewards
    boundary: float = 1.0
    reconstruction: float = 0.1
    compactness: float = 0.001


@dataclasses.dataclass
class OptimizerConfig:
    """Adam with coupled L2 weight decay (not AdamW); the defaults, a constant rate and nothing else, as published."""

    learning_rate: float = 6e-5  # the highest, where a schedule changes it
    schedule: str = "constant"  # after the warm-up: "constant", or "cosine" down to final_rate at config.train.steps
    warmup: int = 0  # steps over which the rate rises from 0
    final_rate: float = 0.0  # where the cosine ends, as a share of learning_rate
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 1e-5  # times the parameter, added to the gradient before Adam
    clip: float = 0.0  # largest norm of the whole gradient, which is scaled down to it; 0: not clipped
    ema: float = 0.0  # decay of a running average of the parameters, which then is the model; 0: none
    encoder_rate: float = 1.0  # rate of both encoders, as a multiple of learning_rate
    layer_decay: float = 1.0  # and a factor of their rate for every block between a layer and the encoder's end


@dataclasses.dataclass
class MaskConfig:
    """Where forgeries lie: relative weights of the kinds of mask, and the area they may cover."""

    smooth: float = 1.0  # random smooth shapes
    superpixels: float = 1.0  # unions of neighbouring superpixels
    segments: float = 1.0  # a segment that the source knows of the photograph; where it knows none, the others
    borrowed: float = 1.0  # a segment or mask of another photograph; where the sources have none, the others
    min_area: float = 0.01  # share of the image
    max_area: float = 0.40  # share of the image
    soft_edge: float = 0.25  # probability that the blend has a soft edge


@dataclasses.dataclass
class PerturbationConfig:
    """Relative weight of each member of the PIDA family; 0 leaves a member out. Ranges: pimjax/data/perturb.py."""

    jpeg: float = 1.0
    noise: float = 1.0
    blur: float = 1.0
    median: float = 1.0
    sharpen: float = 1.0
    denoise: float = 1.0
    resample: float = 1.0
    gamma: float = 1.0
    tone: float = 1.0
    remosaic: float = 1.0


@dataclasses.dataclass
class ForgeryConfig:
    """Relative weight of each kind of forgery made from authentic photographs. Ranges: pimjax/data/forge.py."""

    pida: float = 1.0  # the photograph's own perturbation (paper, section III-E)
    splicing: float = 0.0  # a region of another photograph
    copy_move: float = 0.0  # a region of the same photograph
    removal: float = 0.0  # a region painted over from its surroundings
    past: float = 0.0  # the photograph's own pixels with another past than the rest has (HistoryConfig)


@dataclasses.dataclass
class HistoryConfig:
    """The past of an authentic photograph, and of another one that is pasted into it. For data.fit = "crop"."""

    shrink: float = 1.0  # a photograph is scaled by a factor between this and 1; 1: not scaled
    jpeg: float = 0.0  # probability that it was compressed before
    lowest: int = 50  # JPEG quality of that compression, at least
    aligned: float = 0.7  # probability that a compression's grid starts at the sample's corner, as if never cropped


@dataclasses.dataclass
class PidaConfig:
    """Pixel-inconsistency data augmentation (paper, section III-E), and classical forgeries beside it."""

    probability: float = 0.5  # share of authentic samples that become forgeries; 0 switches PIDA off
    after_resize: float = 0.0  # probability that the whole sample, forged or not, is scaled by 0.6..1.4 afterwards
    after_jpeg: float = 0.1  # probability of a JPEG compression of the whole sample, forged or not, as an upload does
    history: HistoryConfig = dataclasses.field(default_factory=HistoryConfig)
    kinds: ForgeryConfig = dataclasses.field(default_factory=ForgeryConfig)
    masks: MaskConfig = dataclasses.field(default_factory=MaskConfig)
    perturbations: PerturbationConfig = dataclasses.field(default_factory=PerturbationConfig)


@dataclasses.dataclass
class DataConfig:
    """What a run reads, by the names of sources:

    "folder:DIR" (photographs, all authentic), "pairs:DIR" (Tp, Gt and Au in it), "csv:FILE", "json:FILE", "tfds:NAME"
    or "tfds:NAME:SPLIT" (a set prepared by `pimjax prepare-data`), "installed:train" and "installed:validation".
    """

    train: tuple[str, ...] = ("installed:train",)
    weights: tuple[float, ...] = ()  # shares of the samples, one per training source; (): by the sources' sizes
    validation: tuple[str, ...] = ("installed:validation",)
    image_size: int = 512  # side of the square network input, in pixels
    fit: str = "resize"  # how a photo becomes that square: "resize" (as published) or "crop" (native pixels)
    flip: bool = True  # random horizontal flips in training
    boundary_width: int = 8  # width of the boundary band, in pixels of the network input, half on either side
    batch_size: int = 28  # images per step, over all devices
    validation_images: int = 64  # forgeries made for validation where its sources hold authentic photos only
    max_validation: int = 1000  # manipulated examples taken for validation at most; a megabyte each at 512²
    keep_decoded: bool = False  # decode every photograph once and keep it in memory: for small sets, one per worker
    workers: int = 2  # worker processes; 0 decodes in the training process. Any number gives the same batches
    max_broken: float = 0.05  # share of training images that may be unreadable before the run stops


@dataclasses.dataclass
class TrainConfig:
    """How long a run lasts, how it is computed, and what it keeps."""

    init: str = ""  # weights to start from: released, UPerNet, Swin, a run or native; "": fresh. Not read on resuming
    steps: int = 9000
    validate_every: int = 500  # steps
    log_every: int = 10  # steps between lines of metrics.jsonl and TensorBoard
    checkpoint_every: int = 500  # steps
    keep_last: int = 1  # newest checkpoints kept
    keep_best: int = 1  # checkpoints kept for their validation F1
    mapping: str = "pmap"  # how the per-device step is mapped over devices: "pmap" or "shard_map"
    shard_optimizer: bool = False  # optimiser state and averages in equal parts on all devices (ZeRO-1), not on each
    sync_batch_norm: bool = False  # BatchNorm over all images of a step; published: over those of a device and part
    precision: str = "float32"  # of maps and products; "bfloat16" leaves parameters, statistics and losses float32
    remat: bool = False  # compute blocks and decoders again in the backward pass: less memory, a third more work
    accumulate: int = 1  # parts of a device's batch taken one after another, as if by so many devices
    bad_step: str = "stop"  # what a loss that is no number, or a spike, does: "stop" the run, or "skip" the step
    spike: float = 0.0  # a loss this many times the usual one is bad; 0: only one that is no number
    wandb: str = ""  # also log to this Weights & Biases project (extra "wandb"); "": do not


@dataclasses.dataclass
class ProfileConfig:
    """Which steps to trace for TensorBoard's profiler or Perfetto, into "profile" in the run's directory."""

    steps: tuple[int, ...] = ()  # the first and the last


@dataclasses.dataclass
class Config:
    """One run."""

    workdir: str = "runs/pim"  # logs, checkpoints and pictures go here; the same directory resumes
    seed: int = 0
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    pida: PidaConfig = dataclasses.field(default_factory=PidaConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    profile: ProfileConfig = dataclasses.field(default_factory=ProfileConfig)


def tiny_model(**changes: Any) -> ModelConfig:
    """A PIM of 8 to 64 channels with every path of the published one, for tests and examples."""
    tiny = ModelConfig(
        embed_dim=8, depths=(2, 1, 1, 1), num_heads=(1, 2, 4, 8), mlp_ratio=2, drop_path=0.1, decoder_channels=8
    )
    return dataclasses.replace(tiny, **changes)

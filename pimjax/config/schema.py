"""Every key a run reads, declared once with its default, range and unit. Needs the standard library alone.

The defaults are the published model and recipe; a file under `configs/` changes what it needs.
"""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from pimjax.config.values import INT32, Section, key, section

LOCAL_STREAMS = ("both", "central", "radial", "none")
FUSIONS = ("lwm", "concatenation", "addition")
RESIZE_MODES = ("resize", "crop")
PRECISIONS = ("float32", "bfloat16")
MAPPINGS = ("pmap", "shard_map")
ALGORITHMS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "polynomial", "steps")
PIXEL_LOSSES = ("focal", "cross_entropy", "balanced")
BAD_STEPS = ("stop", "skip")


@section
class NetworkConfig(Section, path="model"):
    """Configure any network: `ModelConfig` (PIM), or one of `pimjax.config.networks.NETWORKS`, by "architecture"."""

    if TYPE_CHECKING:  # the last field of each, as in files of pimjax 0.1
        architecture: str = ""


@section
class ModelConfig(NetworkConfig, path="model"):
    """The PIM network (paper, section III). The defaults are the released model: 166,620,811 parameters.

    Every ablation is one field. Switching a stream or a decoder off removes its parameters.
    """

    patch_size: int = key(4, choices=(4, 8, 16))  # side of a token of stage 1, in pixels; 8: a JPEG block
    embed_dim: int = key(96, 1, 1024)  # channels of stage 1; stage i has embed_dim * 2**(i-1)
    depths: tuple[int, ...] = key((2, 2, 6, 2), 1, 64, items=(1, 8))  # transformer blocks per stage
    num_heads: tuple[int, ...] = key((3, 6, 12, 24), 1, 256, items=(1, 8))  # attention heads per stage
    window_size: int = key(7, 1, 32)  # side of an attention window, in tokens
    mlp_ratio: int = key(4, 1, 16)  # hidden width of a block's MLP, in multiples of its channels
    drop_path_rate: float = key(0.3, 0, 0.99)  # stochastic depth of the last block; rises linearly from 0
    decoder_channels: int = key(512, 1, 8192)  # width of the three UPerNet decoders
    pool_scales: tuple[int, ...] = key((1, 2, 3, 6), 1, 64, items=(1, 8))  # bins per side of the pyramid pooling
    dropout_rate: float = key(0.1, 0, 0.99)  # probability that a channel is dropped before the last convolution
    raster_mask: bool = True  # False: the "masked" encoder attends to its whole window
    global_stream: bool = True  # False: no masked encoder and no image decoder; the local maps are decoded unfused
    local_stream: str = key("both", choices=LOCAL_STREAMS)  # difference convolutions; "none": plain encoder only
    fusion: str = key("lwm", choices=FUSIONS)  # how two maps are weighed; "lwm": by learned gates
    high_pass_init: bool = False  # True: the plain encoder starts from high-pass filters, to train without a checkpoint
    spectral_stem: bool = False  # True: the plain encoder's tokens are JPEG's blocks, transformed; patch_size 8
    double_compression: bool = False  # True: and what the histograms tell of double JPEG; needs spectral_stem
    boundary_decoder: bool = True  # False: no boundary map, hence no boundary and no compactness loss
    image_decoder: bool = True  # False: no reconstruction, hence no reconstruction loss
    architecture: str = key("pim", choices=("pim",))


@section
class LossConfig(Section, path="loss"):
    """Weights of the terms of the training loss, the defaults as published. 0 switches a term off."""

    mask: float = key(1.0, 0)  # cross-entropy of the mask
    dice: float = key(0.0, 0)  # ours: 1 − the forged images' soft F1, so that a map decides at 0.5 what F1 rewards
    boundary: float = key(1.0, 0)  # cross-entropy of the boundary band
    reconstruction: float = key(0.1, 0)  # mean absolute error of the reconstructed image
    compactness: float = key(0.001, 0)  # how compact the predicted boundary is


@section
class ComparedLossConfig(Section, path="compared_loss"):
    """What a compared network's published weights of its loss terms are multiplied with. 0 switches a term off."""

    mask: float = key(1.0, 0)  # of the mask, PSCC-Net's four, or dice in MVSS-Net
    dice: float = key(1.0, 0)  # TruFor: 1 − the images' dice coefficients
    edge: float = key(1.0, 0)  # MFCN, MVSS-Net: of the mask's edge
    image: float = key(1.0, 0)  # MVSS-Net, PSCC-Net, TruFor: of the image's score
    confidence: float = key(1.0, 0)  # TruFor: of the confidence map
    penalty: float = key(1.0, 0)  # HP-FCN: half the squared norm of its convolutions
    pixel: str = key("focal", choices=PIXEL_LOSSES)  # HP-FCN: of each pixel; "balanced": classes as heavy as each other


@section
class OptimizerConfig(Section, path="optimizer"):
    """Adam with coupled L2 weight decay (not AdamW); the defaults, a constant rate and nothing else, as published."""

    algorithm: str = key("adam", choices=ALGORITHMS)  # "adamw" decays apart from the gradient, the others with it
    trainable: tuple[str, ...] = ()  # what alone is trained: beginnings of parameters' names, joined by dots; (): all
    learning_rate: float = key(6e-5, above=0)  # the highest, where a schedule changes it
    schedule: str = key("constant", choices=SCHEDULES)  # after the warm-up; "steps": by step_factor every step_length
    warmup_steps: int = key(0, 0)  # steps over which the rate rises from 0
    end_lr_factor: float = key(0.0, 0, 1)  # where "cosine" and "polynomial" end, as a share of learning_rate
    power: float = key(0.9, above=0)  # of the polynomial: the rate falls as (1 − share of the run)^power
    step_length: int = key(1000, 1)  # steps
    step_factor: float = key(0.5, above=0, high=1)  # what the rate is multiplied with every step_length steps
    momentum: float = key(0.9, 0, below=1)  # of "sgd"
    b1: float = key(0.9, 0, below=1)  # decay of the average gradient
    b2: float = key(0.999, 0, below=1)  # decay of the average squared gradient
    eps: float = key(1e-8, above=0)  # added to the root of the average squared gradient
    weight_decay: float = key(1e-5, 0)  # times the parameter, added to the gradient before Adam
    decay_kernels_only: bool = False  # weight_decay spares biases and normalization: what has one axis
    grad_clip_norm: float = key(0.0, 0)  # largest norm of the gradient, which is scaled down to it; 0: none
    ema_decay: float = key(0.0, 0, below=1)  # decay of a running average of the parameters, the model then; 0: none
    encoder_lr_scale: float = key(1.0, 0)  # rate of both encoders, as a multiple of learning_rate
    layer_decay: float = key(1.0, 0, 1)  # a factor of that rate for every block between a layer and the encoder's end


@section
class MaskConfig(Section, path="pida.masks"):
    """Where forgeries lie: relative weights of the kinds of mask, and the area they may cover."""

    smooth: float = key(1.0, 0)  # random smooth shapes
    superpixels: float = key(1.0, 0)  # unions of neighboring superpixels
    segments: float = key(1.0, 0)  # a segment that the source knows of the photograph; where it knows none, the others
    borrowed: float = key(1.0, 0)  # a segment or mask of another photograph; where the sources have none, the others
    min_area: float = key(0.01, above=0, below=1)  # share of the image
    max_area: float = key(0.40, above=0, below=1)  # share of the image
    soft_edge: float = key(0.25, 0, 1)  # probability that the blend has a soft edge


@section
class PerturbationConfig(Section, path="pida.perturbations"):
    """Relative weight of each member of the PIDA family; 0 leaves a member out. Ranges: pimjax/data/perturb.py."""

    jpeg: float = key(1.0, 0)
    noise: float = key(1.0, 0)
    blur: float = key(1.0, 0)
    median: float = key(1.0, 0)
    sharpen: float = key(1.0, 0)
    denoise: float = key(1.0, 0)
    resample: float = key(1.0, 0)
    gamma: float = key(1.0, 0)
    tone: float = key(1.0, 0)
    remosaic: float = key(1.0, 0)


@section
class ForgeryConfig(Section, path="pida.kinds"):
    """Relative weight of each kind of forgery made from authentic photographs. Ranges: pimjax/data/forge.py."""

    pida: float = key(1.0, 0)  # the photograph's own perturbation (paper, section III-E)
    splicing: float = key(0.0, 0)  # a region of another photograph
    copy_move: float = key(0.0, 0)  # a region of the same photograph
    removal: float = key(0.0, 0)  # a region painted over from its surroundings
    recompressed: float = key(0.0, 0)  # the photograph's own pixels, compressed another way than the rest


@section
class DegradationConfig(Section, path="pida.degradation"):
    """The past of an authentic photograph, and of another one that is pasted into it. For data.resize_mode = "crop"."""

    min_scale: float = key(1.0, 0.05, 1)  # a photograph is scaled by a factor between this and 1; 1: not scaled
    jpeg_prob: float = key(0.0, 0, 1)  # probability that it was compressed before
    min_quality: int = key(50, 1, 98)  # JPEG quality of that compression, at least
    grid_aligned_prob: float = key(0.7, 0, 1)  # probability that JPEG's grid starts at the corner


@section
class UploadConfig(Section, path="pida.uploads"):
    """What the finished file, forged or not, goes through before it is seen. For data.resize_mode = "crop"."""

    probability: float = key(0.0, 0, 1)  # share of samples that are sent on; others stay as the forger left them
    most: int = key(3, 1, 8)  # stations on the way: 1 … this many, each as likely
    cut_prob: float = key(0.2, 0, 1)  # probability, per station, that 0 … 7 rows and columns are cut off: a new grid
    scale_prob: float = key(0.3, 0, 1)  # probability, per station, that it is scaled
    min_scale: float = key(0.5, 0.1, 1)  # by a factor between this and 1
    min_quality: int = key(50, 1, 98)  # quality of JPEG and WebP, at least


@section
class PidaConfig(Section, path="pida"):
    """Pixel-inconsistency data augmentation (paper, section III-E), and classical forgeries beside it."""

    probability: float = key(0.5, 0, 1)  # share of authentic samples that become forgeries; 0 switches PIDA off
    after_resize: float = key(0.0, 0, 1)  # probability that the sample, forged or not, is scaled by 0.6..1.4 afterward
    after_jpeg: float = key(0.1, 0, 1)  # probability that the sample, forged or not, is a JPEG again, as uploads are
    degradation: DegradationConfig = dataclasses.field(default_factory=DegradationConfig)
    kinds: ForgeryConfig = dataclasses.field(default_factory=ForgeryConfig)
    masks: MaskConfig = dataclasses.field(default_factory=MaskConfig)
    perturbations: PerturbationConfig = dataclasses.field(default_factory=PerturbationConfig)
    uploads: UploadConfig = dataclasses.field(default_factory=UploadConfig)


@section
class DataConfig(Section, path="data"):
    """What a run reads, by the names of sources:

    "folder:DIR" (photographs, all authentic), "pairs:DIR" (Tp, Gt and Au in it), "csv:FILE", "json:FILE", "tfds:NAME"
    or "tfds:NAME:SPLIT" (a dataset prepared by `pimjax prepare-data`), "installed:train" and "installed:validation".
    """

    train: tuple[str, ...] = key(("installed:train",), items=(1, math.inf))
    weights: tuple[float, ...] = key((), above=0)  # shares of the samples, one per training source; (): by their sizes
    validation: tuple[str, ...] = key(("installed:validation",), items=(1, math.inf))
    image_size: int = key(512, 16, 8192)  # side of the square network input, in pixels
    resize_mode: str = key("resize", choices=RESIZE_MODES)  # how a photo becomes it: scaled, or cut out
    flip: bool = True  # random horizontal flips in training
    boundary_width: int = key(8, 1)  # width of the boundary band, in pixels of the network input, half on either side
    batch_size: int = key(28, 1)  # images per step, over all devices
    validation_images: int = key(64, 1)  # forgeries made for validation where its sources hold authentic photos only
    max_validation: int = key(1000, 1)  # manipulated examples taken for validation at most; a megabyte each at 512²
    cache_decoded: bool = False  # decode every photograph once and keep it in memory: for small sets, one per worker
    num_workers: int = key(2, 0)  # worker processes; 0: none. Any number gives the same batches
    max_unreadable: float = key(0.05, 0, 1)  # share of training images that may be unreadable before the run stops


@section
class TrainConfig(Section, path="train"):
    """How long a run lasts, how it is computed, and what it keeps."""

    init: str = ""  # weights to start from: released, UPerNet, Swin, a run or native; "": fresh. Not read on resuming
    num_steps: int = key(9000, 1)
    validate_every: int = key(500, 1)  # steps
    log_every: int = key(10, 1)  # steps between lines of metrics.jsonl and TensorBoard
    checkpoint_every: int = key(500, 1)  # steps
    keep_last: int = key(1, 1)  # newest checkpoints kept
    keep_best: int = key(1, 1)  # checkpoints kept for their validation F1
    mapping: str = key("pmap", choices=MAPPINGS)  # how the per-device step is mapped over devices
    shard_optimizer: bool = False  # optimizer state and averages in equal parts on all devices (ZeRO-1), not on each
    sync_batch_norm: bool = False  # BatchNorm over all images of a step; published: over those of a device and part
    precision: str = key("float32", choices=PRECISIONS)  # of maps and products alone
    remat: bool = False  # compute blocks and decoders again in the backward pass: less memory, a third more work
    grad_accum_steps: int = key(1, 1)  # parts of a device's batch, one after another as if on as many devices
    bad_step: str = key("stop", choices=BAD_STEPS)  # what a loss does that is no number, or a spike
    spike: float = key(0.0, 0)  # a loss this many times the usual one is bad; 0: only one that is no number
    wandb: str = ""  # also log to this Weights & Biases project (extra "wandb"); "": do not


@section
class ProfileConfig(Section, path="profile"):
    """Which steps to trace for TensorBoard's profiler or Perfetto, into "profile" in the run's directory."""

    steps: tuple[int, ...] = key((), 1, INT32, items=(0, 2))  # the first and the last


@section
class Config(Section):
    """One run."""

    workdir: str = "runs/pim"  # logs, checkpoints and pictures go here; the same directory resumes
    seed: int = key(0, 0)  # of the initial parameters and of every random choice of the data
    model: NetworkConfig = dataclasses.field(default_factory=ModelConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    compared_loss: ComparedLossConfig = dataclasses.field(default_factory=ComparedLossConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    pida: PidaConfig = dataclasses.field(default_factory=PidaConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    profile: ProfileConfig = dataclasses.field(default_factory=ProfileConfig)


def tiny_model(**changes: Any) -> ModelConfig:
    """Return a PIM of 8 to 64 channels with every path of the published one, for tests and examples."""
    tiny = ModelConfig(
        embed_dim=8, depths=(2, 1, 1, 1), num_heads=(1, 2, 4, 8), mlp_ratio=2, drop_path_rate=0.1, decoder_channels=8
    )
    return dataclasses.replace(tiny, **changes)

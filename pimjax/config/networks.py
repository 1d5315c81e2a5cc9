"""Which networks there are: PIM, and a section for each compared one, its released values as defaults."""

from pimjax.config.schema import ModelConfig, NetworkConfig
from pimjax.config.values import key, section

FILTERS = ("first", "second", "third", "fourth", "random", "none")
TRUFOR_PARTS = ("dncnn", "backbone", "decode_head", "decode_head_conf", "detection")


@section
class SwinConfig(ModelConfig, path="model"):
    """UPerNet on Swin-T (Liu et al., ICCV 2021; Xiao et al., ECCV 2018): PIM's plain encoder and decoder of masks."""

    global_stream: bool = False
    local_stream: str = key("none", choices=("none",))
    boundary_decoder: bool = False
    image_decoder: bool = False
    architecture: str = key("swin", choices=("swin",))


@section
class FCNResNet50Config(NetworkConfig, path="model"):
    """FCN on ResNet-50 (Long et al., CVPR 2015), as torchvision's fcn_resnet50."""

    embed_dim: int = key(64, 1, 1024)  # channels of the stem
    depths: tuple[int, ...] = key((3, 4, 6, 3), 1, 64, items=(4, 4))  # bottleneck blocks per layer
    decoder_channels: int = key(512, 1, 8192)  # width of the head
    dropout_rate: float = key(0.1, 0, 0.99)  # of single elements before the classifier
    architecture: str = key("fcn_resnet50", choices=("fcn_resnet50",))


@section
class DeepLabV3ResNet50Config(NetworkConfig, path="model"):
    """DeepLabv3 on ResNet-50 (Chen et al., 2017), as torchvision's deeplabv3_resnet50."""

    embed_dim: int = key(64, 1, 1024)  # channels of the stem
    depths: tuple[int, ...] = key((3, 4, 6, 3), 1, 64, items=(4, 4))  # bottleneck blocks per layer
    decoder_channels: int = key(256, 1, 8192)  # width of the pyramid
    dropout_rate: float = key(0.5, 0, 0.99)  # of single elements behind the pyramid
    architecture: str = key("deeplabv3_resnet50", choices=("deeplabv3_resnet50",))


@section
class UNetConfig(NetworkConfig, path="model"):
    """U-Net (Ronneberger et al., MICCAI 2015) with padding and BatchNorm."""

    embed_dim: int = key(64, 1, 1024)  # channels of the first level; they double with each
    architecture: str = key("unet", choices=("unet",))


@section
class ViTB16Config(NetworkConfig, path="model"):
    """ViT-B/16 (Dosovitskiy et al., ICLR 2021), as torchvision's vit_b_16; its classifier, or a decoder."""

    embed_dim: int = key(768, 1, 8192)  # channels of a token
    depths: tuple[int, ...] = key((12,), 1, 64, items=(1, 1))  # transformer blocks
    num_heads: int = key(12, 1, 256)  # attention heads
    decoder_channels: int = key(0, 0, 8192)  # width of a decoder of masks, in the classifier's place; 0: none
    dropout_rate: float = key(0.1, 0, 0.99)  # of whole channels in that decoder
    architecture: str = key("vit_b_16", choices=("vit_b_16",))


@section
class MFCNConfig(NetworkConfig, path="model"):
    """MFCN (Salloum et al., JVCIR 2018): VGG-16 with two FCN-8s decoders."""

    embed_dim: int = key(64, 1, 1024)  # channels of the first convolutions
    hidden_dim: int = key(4096, 1, 8192)  # channels of fc6 and fc7
    dropout_rate: float = key(0.5, 0, 0.99)  # of single elements behind fc6 and fc7
    architecture: str = key("mfcn", choices=("mfcn",))


@section
class RRUNetConfig(NetworkConfig, path="model"):
    """RRU-Net (Bi et al., CVPR Workshops 2019)."""

    embed_dim: int = key(32, 1, 1024)  # channels of the first level; from 32 on a multiple of 32
    architecture: str = key("rru_net", choices=("rru_net",))


@section
class MVSSNetConfig(NetworkConfig, path="model"):
    """MVSS-Net (Chen et al., ICCV 2021) and what is public of MVSS-Net++ (Dong et al., TPAMI 2022)."""

    image_head: str = key("max", choices=("max", "gem", "convgem"))  # the image's score; not "max": MVSS-Net++
    noise_branch: bool = True  # False: no Bayar filters and no second ResNet
    edge_branch: bool = True  # False: no edges
    dropout_rate: float = key(0.1, 0, 0.99)  # of single elements before the classifier
    gray: tuple[float, ...] = key((0.1140, 0.5870, 0.2989), 0, 1, items=(3, 3))  # weights of the channels as they come
    gem_power: float = key(10.0, 1)  # p of generalized mean pooling
    embed_dim: int = key(64, 1, 1024)  # channels of both trunks' stems
    depths: tuple[int, ...] = key((3, 4, 6, 3), 1, 64, items=(4, 4))  # bottleneck blocks per layer
    architecture: str = key("mvss_net", choices=("mvss_net",))


@section
class PSCCNetConfig(NetworkConfig, path="model"):
    """PSCC-Net (Liu et al., IEEE TCSVT 2022)."""

    crop: tuple[int, ...] = key((256, 256), 8, 4096, items=(2, 2))  # height and width of the heads' grid, by 8
    gate: str = key("sigmoid", choices=("sigmoid", "logit"))  # what a mask gates finer features by
    channel_unfold: str = key("released", choices=("released", "transposed"))  # how the channel branch is read back
    embed_dim: int = key(18, 1, 1024)  # channels of the finest branch
    stem_dim: int = key(64, 1, 1024)  # channels before the branches
    architecture: str = key("pscc_net", choices=("pscc_net",))


@section
class CATNetConfig(NetworkConfig, path="model"):
    """CAT-Net (Kwon et al., WACV 2021, IJCV 2022)."""

    dct_only: bool = False  # True: the single-stream model, which sees no RGB
    embed_dim: int = key(48, 2, 1024)  # channels of the finest of RGB's branches
    depths: tuple[int, ...] = key((1, 4, 3), 1, 64, items=(3, 3))  # modules of RGB's stages 2 to 4
    dct_depths: tuple[int, ...] = key((3, 2), 1, 64, items=(2, 2))  # modules of the coefficients' stages 3 and 4
    architecture: str = key("cat_net", choices=("cat_net",))


@section
class EVPConfig(NetworkConfig, path="model"):
    """EVP (Liu et al., CVPR 2023), for manipulation."""

    drop_path_rate: float = key(0.1, 0, 0.99)  # stochastic depth of the last block; rises linearly from 0
    dropout_rate: float = key(0.1, 0, 0.99)  # of whole channels in the decoder
    embed_dim: int = key(64, 4, 1024)  # channels of the first stage; the others have 2, 5 and 8 times as many
    depths: tuple[int, ...] = key((3, 8, 27, 3), 1, 64, items=(4, 4))  # transformer blocks per stage
    decoder_channels: int = key(768, 1, 8192)  # width of the decoder
    architecture: str = key("evp", choices=("evp",))


@section
class TruForConfig(NetworkConfig, path="model"):
    """TruFor (Guillaro et al., CVPR 2023)."""

    confidence_eps: float = key(1e-3, above=0)  # of the confidence decoder's BatchNorm; 1e-5 in the code of 2023
    drop_path_rate: float = key(0.1, 0, 0.99)  # stochastic depth of the last block
    dropout_rate: float = key(0.1, 0, 0.99)  # of whole channels in the decoders
    score_dropout_rate: float = key(0.5, 0, 0.99)  # of the image score's hidden layer
    frozen: tuple[str, ...] = key(("dncnn",), choices=TRUFOR_PARTS)  # parts that are not trained
    embed_dim: int = key(64, 4, 1024)  # channels of the first stage; the others have 2, 5 and 8 times as many
    depths: tuple[int, ...] = key((3, 4, 6, 3), 1, 64, items=(4, 4))  # transformer blocks per stage
    decoder_channels: int = key(512, 1, 8192)  # width of the decoder
    architecture: str = key("trufor", choices=("trufor",))


@section
class ManTraNetConfig(NetworkConfig, path="model"):
    """ManTra-Net (Wu et al., CVPR 2019)."""

    variant: int = key(4, choices=(0, 1, 2, 3, 4))  # number of the released file; 4 is what everybody uses
    port: bool = False  # True: as the PyTorch port computes, BatchNorm by the current batch
    embed_dim: int = key(32, 1, 1024)  # channels of the extractor's second layer, of which all others are multiples
    architecture: str = key("mantra_net", choices=("mantra_net",))


@section
class SPANConfig(NetworkConfig, path="model"):
    """SPAN (Hu et al., ECCV 2020)."""

    resize224: bool = False  # True: traces are resized to 224×224, the size of the map then
    embed_dim: int = key(32, 1, 1024)  # channels of the extractor's second layer, of which its others are multiples
    architecture: str = key("span", choices=("span",))


@section
class HPFCNConfig(NetworkConfig, path="model"):
    """HP-FCN (Li and Huang, ICCV 2019), for inpainting."""

    filters: str = key("first", choices=FILTERS)  # the derivative that the learned filters start from
    embed_dim: int = key(32, 1, 1024)  # width of the first block's bottlenecks; it doubles with each
    architecture: str = key("hp_fcn", choices=("hp_fcn",))


@section
class HLSTMConfig(NetworkConfig, path="model"):
    """H-LSTM (Bappy et al., TIP 2019), at 256×256 pixels alone."""

    batch_statistics: bool = True  # BatchNorm by the current batch in inference, too, as the released weights want
    saturate: bool = True  # gray levels above 127 are taken for 127, as in the data of the released weights
    dropout_rate: float = key(0.1, 0, 0.99)  # of each LSTM cell's output
    embed_dim: int = key(32, 1, 1024)  # channels of the first convolution; they double with each
    architecture: str = key("h_lstm", choices=("h_lstm",))


COMPARED: dict[str, type[NetworkConfig]] = {
    "fcn_resnet50": FCNResNet50Config,
    "deeplabv3_resnet50": DeepLabV3ResNet50Config,
    "unet": UNetConfig,
    "vit_b_16": ViTB16Config,
    "mfcn": MFCNConfig,
    "rru_net": RRUNetConfig,
    "mvss_net": MVSSNetConfig,
    "pscc_net": PSCCNetConfig,
    "cat_net": CATNetConfig,
    "evp": EVPConfig,
    "trufor": TruForConfig,
    "mantra_net": ManTraNetConfig,
    "span": SPANConfig,
    "hp_fcn": HPFCNConfig,
    "h_lstm": HLSTMConfig,
}
NETWORKS: dict[str, type[NetworkConfig]] = {"pim": ModelConfig, "swin": SwinConfig} | COMPARED


def loss_terms(config: NetworkConfig) -> tuple[str, ...]:
    """Return the terms of a compared network's training loss, keys of `ComparedLossConfig`."""
    if isinstance(config, TruForConfig):
        parts = {"decode_head": ("mask", "dice"), "decode_head_conf": ("confidence",), "detection": ("image",)}
        return tuple(term for part, terms in parts.items() if part not in config.frozen for term in terms)
    if isinstance(config, MVSSNetConfig):
        return ("mask", "edge", "image") if config.edge_branch else ("mask", "image")
    return {"mfcn": ("mask", "edge"), "pscc_net": ("mask", "image"), "hp_fcn": ("mask", "penalty")}.get(
        config.architecture, ("mask",)
    )


def trained_parts(config: NetworkConfig) -> tuple[str, ...]:
    """Return the beginnings of the names of the parameters that a network's own fields let train; () for all."""
    if not isinstance(config, TruForConfig):
        return ()
    return tuple(f"{part}." for part in TRUFOR_PARTS if part not in config.frozen)

"""The compared networks with released weights: a section for each, the released values as defaults."""

import math

from pimjax.config.schema import NetworkConfig
from pimjax.config.values import key, section


@section
class FCNResNet50Config(NetworkConfig, path="model"):
    """FCN on ResNet-50 (Long et al., CVPR 2015), as torchvision's fcn_resnet50."""

    dropout_rate: float = key(0.1, 0, 0.99)  # of single elements before the classifier
    architecture: str = key("fcn_resnet50", choices=("fcn_resnet50",))


@section
class DeepLabV3ResNet50Config(NetworkConfig, path="model"):
    """DeepLabv3 on ResNet-50 (Chen et al., 2017), as torchvision's deeplabv3_resnet50."""

    dropout_rate: float = key(0.5, 0, 0.99)  # of single elements behind the pyramid
    architecture: str = key("deeplabv3_resnet50", choices=("deeplabv3_resnet50",))


@section
class ReleasedUNetConfig(NetworkConfig, path="model"):
    """U-Net (Ronneberger et al., MICCAI 2015) with padding and BatchNorm."""

    architecture: str = key("unet", choices=("unet",))


@section
class ViTB16Config(NetworkConfig, path="model"):
    """ViT-B/16 (Dosovitskiy et al., ICLR 2021), as torchvision's vit_b_16: an encoder, and ImageNet's classifier."""

    architecture: str = key("vit_b_16", choices=("vit_b_16",))


@section
class MFCNConfig(NetworkConfig, path="model"):
    """MFCN (Salloum et al., JVCIR 2018): VGG-16 with two FCN-8s decoders."""

    dropout_rate: float = key(0.5, 0, 0.99)  # of single elements behind fc6 and fc7
    architecture: str = key("mfcn", choices=("mfcn",))


@section
class RRUNetConfig(NetworkConfig, path="model"):
    """RRU-Net (Bi et al., CVPR Workshops 2019)."""

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
    architecture: str = key("mvss_net", choices=("mvss_net",))


@section
class PSCCNetConfig(NetworkConfig, path="model"):
    """PSCC-Net (Liu et al., IEEE TCSVT 2022)."""

    crop: tuple[int, ...] = key((256, 256), 8, 4096, items=(2, 2))  # height and width of the heads' grid, by 8
    gate: str = key("sigmoid", choices=("sigmoid", "logit"))  # what a mask gates finer features by
    channel_unfold: str = key("released", choices=("released", "transposed"))  # how the channel branch is read back
    architecture: str = key("pscc_net", choices=("pscc_net",))


@section
class CATNetConfig(NetworkConfig, path="model"):
    """CAT-Net (Kwon et al., WACV 2021, IJCV 2022)."""

    dct_only: bool = False  # True: the single-stream model, which sees no RGB
    architecture: str = key("cat_net", choices=("cat_net",))


@section
class EVPConfig(NetworkConfig, path="model"):
    """EVP (Liu et al., CVPR 2023), for manipulation."""

    drop_path_rate: float = key(0.1, 0, 0.99)  # stochastic depth of the last block; rises linearly from 0
    dropout_rate: float = key(0.1, 0, 0.99)  # of whole channels in the decoder
    architecture: str = key("evp", choices=("evp",))


@section
class TruForConfig(NetworkConfig, path="model"):
    """TruFor (Guillaro et al., CVPR 2023)."""

    confidence_eps: float = key(1e-3, above=0)  # of the confidence decoder's BatchNorm; 1e-5 in the code of 2023
    drop_path_rate: float = key(0.1, 0, 0.99)  # stochastic depth of the last block
    dropout_rate: float = key(0.1, 0, 0.99)  # of whole channels in the decoders
    score_dropout_rate: float = key(0.5, 0, 0.99)  # of the image score's hidden layer
    frozen: tuple[str, ...] = key(("dncnn",), items=(0, math.inf))  # parts that stay in inference mode in training
    architecture: str = key("trufor", choices=("trufor",))


COMPARED: dict[str, type[NetworkConfig]] = {
    "fcn_resnet50": FCNResNet50Config,
    "deeplabv3_resnet50": DeepLabV3ResNet50Config,
    "unet": ReleasedUNetConfig,
    "vit_b_16": ViTB16Config,
    "mfcn": MFCNConfig,
    "rru_net": RRUNetConfig,
    "mvss_net": MVSSNetConfig,
    "pscc_net": PSCCNetConfig,
    "cat_net": CATNetConfig,
    "evp": EVPConfig,
    "trufor": TruForConfig,
}

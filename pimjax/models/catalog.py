"""What there is to know of each network before it is loaded: the table of `pimjax models`."""

from typing import NamedTuple


class Facts(NamedTuple):
    """Say what a network is, what it costs and under which terms its public weights come."""

    year: int
    venue: str
    parameters: int
    operations: float  # 10⁹ at 512², one image, as XLA counts a multiplication and an addition; H-LSTM: at 256²
    inputs: str
    license: str  # of the public weights
    source: str  # where its users get them


CATALOG = {
    "fcn_resnet50": Facts(2015, "CVPR", 32_947_266, 270.5, "RGB", "BSD-3-Clause", "torchvision: COCO, not forensic"),
    "unet": Facts(2015, "MICCAI", 31_037_698, 381.4, "RGB", "GPL-3.0", "milesial/Pytorch-UNet: cars, not forensic"),
    "deeplabv3_resnet50": Facts(2017, "arXiv", 39_633_986, 273.0, "RGB", "BSD-3-Clause", "torchvision: not forensic"),
    "mfcn": Facts(2018, "JVCIR", 134_282_570, 209.0, "RGB", "–", "none was published"),
    "rru_net": Facts(2019, "CVPRW", 4_097_249, 136.8, "RGB", "none stated", "yelusaleng/RRU-Net, best_model.pth"),
    "vit_b_16": Facts(2021, "ICLR", 86_567_656, 217.6, "RGB", "BSD-3-Clause", "torchvision: ImageNet, not forensic"),
    "swin": Facts(2021, "ICCV", 58_942_140, 270.2, "RGB", "MIT", "microsoft/Swin-Transformer: ImageNet, not forensic"),
    "mvss_net": Facts(2021, "ICCV", 142_713_215, 321.6, "BGR, 512²", "none stated", "dong03/MVSS-Net, Google Drive"),
    "cat_net": Facts(2022, "IJCV", 114_263_810, 262.7, "RGB, JPEG's DCT", "CC-BY-4.0", "mjkwon2021/CAT-Net"),
    "pscc_net": Facts(2022, "TCSVT", 3_667_942, 258.1, "RGB", "MIT", "proteus1991/PSCC-Net, three files"),
    "evp": Facts(
        2023, "CVPR", 64_544_402, 200.6, "RGB, 256²", "non-commercial", "authors' Google Drive, and mit_b4.pth"
    ),
    "trufor": Facts(2023, "CVPR", 68_697_421, 468.4, "RGB", "non-profit", "grip.unina.it, TruFor_weights.zip"),
    "mantra_net": Facts(2019, "CVPR", 3_804_950, 2173.5, "RGB", "academic, non-commercial", "ISICV/ManTraNet, .h5"),
    "hp_fcn": Facts(2019, "ICCV", 7_701_077, 70.0, "RGB", "MIT", "lihaod/Deep_inpainting_localization, TensorFlow 1"),
    "h_lstm": Facts(
        2019, "TIP", 2_207_652, 11.6, "RGB, 256²", "none stated", "jawadbappy/forgery_localization_HLED, TensorFlow 1"
    ),
    "span": Facts(2020, "ECCV", 4_054_254, 2127.3, "RGB", "none stated", "ZhiHanZ/IRIS0-SPAN, PixelAttention32.h5"),
    "pim": Facts(2025, "TPAMI", 166_620_811, 982.0, "RGB, 512²", "see its authors", "its authors"),
    "pim-small": Facts(2026, "pimjax", 3_375_051, 0.0, "RGB", "as pimjax", "in this package"),
}

"""Where each dataset comes from, for people who have none of its files yet."""

ORIGINS = {
    "casia_v1": "Dong et al., ChinaSIP 2013; masks: github.com/namtpham/casia1groundtruth",
    "casia_v1_plus": "Chen et al., ICCV 2021 (MVSS-Net): github.com/dong03/MVSS-Net; Corel 1k photographs",
    "casia_v2": "Dong et al., ChinaSIP 2013; masks: github.com/namtpham/casia2groundtruth",
    "columbia": "Hsu and Chang, ICME 2006: Columbia University, DVMM lab, on request",
    "coverage": "Wen et al., ICIP 2016: github.com/wenbihan/coverage",
    "nist16": "NIST, Nimble Challenge 2016: mfc.nist.gov, after registration",
    "imd2020": "Novozámský et al., WACVW 2020: staff.utia.cas.cz/novozada/db",
    "dso1": "Carvalho et al., TIFS 2013: recodbr.wordpress.com/code-n-data",
    "korus": "Korus and Huang, TIFS 2017: pkorus.pl/downloads/dataset-realistic-tampering",
    "in_the_wild": "Huh et al., ECCV 2018: github.com/minyoungg/selfconsistency",
    "ifc": "IEEE IFS-TC Image Forensics Challenge 2013, phase 1",
    "wildweb": "Zampoglou et al., ICMEW 2015: mklab.iti.gr/results/the-wild-web-tampered-image-dataset",
    "defacto": "Mahfoudi et al., EUSIPCO 2019: defactodataset.github.io",
    "autosplice": "Jia et al., CVPRW 2023: github.com/shanface33/AutoSplice_Dataset",
    "cocoglide": "Guillaro et al., CVPR 2023: github.com/grip-unina/TruFor",
    "diverse_inpainting": "Wu and Zhou, TCSVT 2022: github.com/HighwayWu/InpaintingForensics",
    "bsds500": "Arbeláez et al., TPAMI 2011: www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping",
    "camera-originals": "github.com/drewnoakes/metadata-extractor-images",
}


def listing() -> str:
    """Return all datasets, a line each with where it comes from."""
    lines = [f"  {name:<20} {origin}" for name, origin in ORIGINS.items()]
    return "\n".join(
        [
            "Nothing is downloaded: get a dataset's files where they are published, then run",
            "pimjax prepare-data NAME --from DIR. Without --from, it says how the files must lie.",
            "",
            *lines,
            "",
            "Not prepared, but read as they are: Kodak's photographs (r0k.us/graphics/kodak), as folder:DIR.",
        ]
    )

"""Each set's layout in miniature, written by the test with all its quirks, prepared and read back."""

import itertools
import json
import os
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from pimjax.data.datasets import catalog, lists, mask_alignment, polarity, report
from pimjax.data.datasets.builder import ManipulationDataset, UnverifiedPolarity
from pimjax.data.datasets.casia import pair_stems
from pimjax.data.datasets.catalog import BUILDERS, load, prepare
from pimjax.data.images import ImageError

H, W = 8, 12


def box(height=H, width=W, top=2, left=3, bottom=5, right=8):
    """A rectangle, as a bool mask; less than half of the area."""
    marked = np.zeros((height, width), bool)
    marked[top:bottom, left:right] = True
    return marked


def gray(marked, yes=255, no=0):
    return np.where(marked, yes, no).astype(np.uint8)


class Replica:
    """Files below a folder, and what a builder should make of them."""

    def __init__(self, root):
        self.root = root
        self.examples = {}  # split: {id: (kind, marked or None, image_file, mask_file)}
        self.report = {}  # heading: lines, or their beginnings
        self._seeds = itertools.count()

    def write(self, name, values, *options):
        """An image file, RGB where it has colors; a format that its suffix does not tell is JPEG."""
        suffix = "." + name.rpartition(".")[2].lower()
        values = values[..., [2, 1, 0, *range(3, values.shape[2])]] if values.ndim == 3 else values
        encoded = cv2.imencode(".jpg" if suffix == ".jpe" else suffix, values, options)[1].tobytes()
        return self.write_bytes(name, encoded)

    def write_bytes(self, name, content):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return name

    def photo(self, name, height=H, width=W):
        values = np.random.default_rng(next(self._seeds)).integers(0, 256, (height, width, 3), np.uint8)
        return self.write(name, values)

    def authentic(self, split, identifier, file=None):
        self.photo(file or identifier)
        self.expect(split, identifier, None, "", file)

    def expect(self, split, identifier, marked, kind="", image_file=None, mask_file=""):
        self.examples.setdefault(split, {})[identifier] = (kind, marked, image_file or identifier, mask_file)

    def forged(self, split, identifier, kind, mask_file, values, marked, file=None):
        self.photo(file or identifier, *marked.shape)
        self.write(mask_file, values)
        self.expect(split, identifier, marked, kind, file, mask_file)


def casia_v1(r, outer="", au="Au/Au_ani_0001.jpg", gt="CASIA 1.0 groundtruth"):
    r.authentic("test", au)
    copied, spliced = "Sp_S_NNN_A_arc0018_arc0018_0013", "Sp_D_CNN_A_art0001_art0002_0266"
    r.forged("test", f"Tp/CM/{copied}.jpg", "copy_move", f"{gt}/CM/{copied}_gt.png", gray(box()), box(),
             f"{outer}Tp/CM/{copied}.jpg")  # fmt: skip
    r.forged("test", f"Tp/Sp/{spliced}.jpg", "splicing", f"{gt}/Sp/{spliced}_gt.png", gray(box(), 1), box(),
             f"{outer}Tp/Sp/{spliced}.jpg")  # fmt: skip
    # The kind was corrected in the mask's name and folder, not in the image's.
    image, mask = "Tp/Sp/Sp_D_NND_A_nat0054_nat0054_0189.jpg", f"{gt}/CM/Sp_S_NND_A_nat0054_nat0054_0189_gt.png"
    r.forged("test", image, "copy_move", mask, gray(box()), box(), outer + image)
    # The number 0018 occurs twice: one pair has equal names, the other has not.
    text = "Sp_S_NNN_T_txt0018_txt0018_0018"
    r.forged("test", f"Tp/CM/{text}.jpg", "copy_move", f"{gt}/CM/{text}_gt.png", gray(box()), box(),
             f"{outer}Tp/CM/{text}.jpg")  # fmt: skip
    swapped, marked = "Tp/Sp/Sp_D_CND_A_pla0016_sec0011_0018.jpg", box(left=1, right=4)
    mask = f"{gt}/Sp/Sp_D_CND_A_sec0011_pla0016_0018_gt.png"
    r.forged("test", swapped, "splicing", mask, gray(marked), marked, outer + swapped)
    r.report[report.BY_NUMBER] = [
        f"{swapped}: Sp_D_CND_A_sec0011_pla0016_0018_gt.png",
        "Tp/Sp/Sp_D_NND_A_nat0054_nat0054_0189.jpg: Sp_S_NND_A_nat0054_nat0054_0189_gt.png",
    ]
    r.photo(f"{outer}Tp/Sp/Sp_D_NRN_A_cha0011_sec0011_0542.jpg")
    r.report[report.NO_MASK] = ["Tp/Sp/Sp_D_NRN_A_cha0011_sec0011_0542.jpg"]
    turned = "Sp_D_CNN_A_sec0012_ani0007_0275"
    marked = box(16, 24, 2, 3, 7, 17)
    r.write(f"{outer}Tp/Sp/{turned}.jpg", np.repeat(gray(marked, 220, 90)[..., None], 3, -1))
    r.write(f"{gt}/Sp/{turned}_gt.png", gray(np.rot90(marked)))
    r.expect(
        "test", f"Tp/Sp/{turned}.jpg", marked, "splicing", f"{outer}Tp/Sp/{turned}.jpg", f"{gt}/Sp/{turned}_gt.png"
    )
    r.report[report.ROTATED] = [f"Tp/Sp/{turned}.jpg: 90° clockwise, by its outline"]
    r.write_bytes(f"{gt}/FileNameCorrection.xlsx", b"no image")


def casia_v1_mirror(r):
    casia_v1(r, "Modified Tp/")


def casia_v1_all_in_sp(r, outer="Modified Tp/Tp/"):
    r.authentic("test", "Au/Au_ani_0001.jpg")
    for name, folder, kind in (("Sp_S_A_1_0013", "CM", "copy_move"), ("Sp_D_A_1_0014", "Sp", "splicing")):
        mask = f"CASIA 1.0 groundtruth/{folder}/{name}_gt.png"
        r.forged("test", f"Tp/Sp/{name}.jpg", kind, mask, gray(box()), box(), f"{outer}Sp/{name}.jpg")


def casia_v1_bare_sp(r):
    casia_v1_all_in_sp(r, "")


def casia_v1_plus(r):
    casia_v1(r, au="corel-1k/test_set/bus/302.jpg")
    r.photo("corel-1k/test_set/bus/303.jpg")  # not among the 800
    mask = "./CASIAv1/mask/x_gt.png"
    r.write_bytes("CASIAv1plus.txt", f"./corel-1k/test_set/bus/302.jpg None 0\n\n./x.jpg {mask} 1\n".encode())


def casia_v1_plus_unlisted(r):
    casia_v1(r)
    r.authentic("test", "Au/bus/302.jpg")
    r.report[report.DOUBTFUL] = ["Au/Au_ani_0001.jpg: by its name one of CASIA's own"]


def casia_v2(r, outer="CASIA 2.0/"):
    gt = "CASIA 2 Groundtruth"

    def add(name, kind, values, marked, suffix="_gt"):
        stem = name.rpartition(".")[0]
        r.forged("train", f"Tp/{name}", kind, f"{gt}/{stem}{suffix}.png", values, marked, f"{outer}Tp/{name}")

    r.authentic("train", "Au/Au_ani_00001.jpg", f"{outer}Au/Au_ani_00001.jpg")
    r.authentic("train", "Au/Au_ani_00002.bmp", f"{outer}Au/Au_ani_00002.bmp")
    r.write_bytes(f"{outer}Au/Au_ani_00003.jpg", (r.root / f"{outer}Au/Au_ani_00001.jpg").read_bytes())
    r.expect("train", "Au/Au_ani_00003.jpg", None, "", f"{outer}Au/Au_ani_00003.jpg")
    r.report[report.EQUAL] = ["Au/Au_ani_00003.jpg = Au/Au_ani_00001.jpg"]
    r.write_bytes(f"{outer}Au/Thumbs.db", b"no image")
    r.write_bytes(f"{outer}Au/._Au_ani_00001.jpg", b"what macOS leaves behind")
    r.photo(f"{outer}Au/.hidden.jpg")
    r.write_bytes(f"{outer}Au/@eaDir/Au_ani_00001.jpg/SYNOPHOTO_THUMB_M.jpg", b"what a Synology disk leaves")
    r.write_bytes(f"{outer}Au/Au_ani_00009.heic", b"")
    r.write_bytes(f"{outer}Au/list.txt", b"")
    r.report[report.LITTER] = [f"Au/{name}" for name in (".hidden.jpg", "._Au_ani_00001.jpg", "@eaDir", "Thumbs.db")]
    r.report[report.UNREAD] = ["Au/Au_ani_00009.heic"]
    r.report[report.NOT_IMAGES] = ["Au/list.txt"]
    add("Tp_D_CND_M_N_ani00018_sec00096_00138.tif", "splicing", gray(box(), 2), box())
    add("Tp_S_NRN_S_N_arc00020_arc00020_10988.jpg", "copy_move", gray(box()), box(), "_gt3")
    # Another size: every mask pixel becomes two by two; or one column more, of other proportions.
    add("Tp_S_NND_S_N_sec20064_sec20064_01654.jpg", "copy_move", gray(box()), np.kron(box(), np.ones((2, 2), bool)))
    add("Tp_S_NRD_S_N_arc20079_arc20079_01719.tif", "copy_move", gray(box(4, 16, 0, 0, 4, 8)), box(8, 8, 0, 0, 8, 4))
    r.report[report.SCALED] = [
        "Tp/Tp_S_NND_S_N_sec20064_sec20064_01654.jpg: from 12×8 to 24×16",
        "Tp/Tp_S_NRD_S_N_arc20079_arc20079_01719.tif: from 16×4 to 8×8, of other proportions",
    ]
    r.write_bytes(f"{outer}Tp/Tp_D_NRD_S_B_ani20002_nat20042_02437.tif", b"II*\0" + bytes(40))
    r.write(f"{gt}/Tp_D_NRD_S_B_ani20002_nat20042_02437_gt.png", gray(box()))
    r.report[report.UNUSABLE] = ["Tp/Tp_D_NRD_S_B_ani20002_nat20042_02437.tif: damaged"]
    r.photo(f"{outer}Tp/Tp_D_NNN_S_N_nat00042_nat00042_00961.tif")
    r.report[report.NO_MASK] = ["Tp/Tp_D_NNN_S_N_nat00042_nat00042_00961.tif"]
    # A mask that cannot be read, and one of another name.
    r.photo(f"{outer}Tp/Tp_D_CNN_S_N_cha00001_cha00002_00010.jpg")
    r.write_bytes(f"{gt}/Tp_D_CNN_S_N_cha00001_cha00002_00010_gt.png", b"\x89PNG")
    r.report[report.UNUSABLE].insert(
        0, "Tp/Tp_D_CNN_S_N_cha00001_cha00002_00010.jpg: its mask CASIA 2 Groundtruth/Tp_D_C"
    )
    r.photo(f"{outer}Tp/Tp_D_NRN_M_N_nat10134_nat10124_11913.jpg")
    r.write(f"{gt}/Tp_S_NRN_M_N_nat10134_nat10124_11913_gt.png", gray(box()))
    name = "Tp/Tp_D_NRN_M_N_nat10134_nat10124_11913.jpg"
    mask = "Tp_S_NRN_M_N_nat10134_nat10124_11913_gt.png"
    r.expect("train", name, box(), "copy_move", outer + name, f"{gt}/{mask}")
    r.report[report.BY_NUMBER] = [f"{name}: {mask}"]


def casia_v2_mirror(r):
    casia_v2(r, "")


def columbia(r):
    r.authentic("test", "4cam_auth/canong3_01.tif")
    values = np.zeros((16, 32, 3), np.uint8)
    values[:, :16, 0] = values[:, 16:, 1] = 255  # red the host, green the donor; a mean tells nothing apart
    marked = box(16, 32, 0, 16, 16, 32)
    name = "4cam_splc/canong3_nikond70_sub_01"
    mask = "4cam_splc/edgemask/canong3_nikond70_sub_01_edgemask.jpg"
    r.forged("test", f"{name}.tif", "splicing", mask, values, marked)
    assert np.any((cv2.imread(str(r.root / mask)) != 0) & (cv2.imread(str(r.root / mask)) < 60)), "no JPEG noise"
    r.photo("4cam_splc/canong3_nikond70_sub_02.tif")
    r.write("4cam_splc/edgemask/canong3_nikond70_sub_02_edgemask.jpg", gray(box()))
    mask = "4cam_splc/edgemask/canong3_nikond70_sub_02_edgemask.jpg"
    r.report[report.UNUSABLE] = [f"4cam_splc/canong3_nikond70_sub_02.tif: its mask {mask}: has one channel"]


def coverage(r):
    for number in (1, 10):
        r.authentic("test", f"image/{number}.tif")
        values = gray(box(), 121, 120)
        r.forged("test", f"image/{number}t.tif", "copy_move", f"mask/{number}forged.tif", values, box())
        for other in ("copy", "paste"):
            r.write(f"mask/{number}{other}.tif", gray(~box()))
    r.authentic("test", "image/41.tif")
    r.forged(
        "test", "image/41t.tif", "copy_move", "mask/41forged.tif", gray(box()), np.kron(box(), np.ones((2, 2), bool))
    )
    r.report[report.SCALED] = ["image/41t.tif: from 12×8 to 24×16"]


def nist16(r, world=False):
    columns = "TaskID|ProbeFileName|ProbeMaskFileName|IsTarget|BaseFileName"
    columns += "|IsManipulationTypeRemoval|IsManipulationTypeSplice|IsManipulationTypeCopyClone"
    rows = [
        "manipulation|probe/NC2016_0002.jpg|reference/manipulation/mask/NC2016_0397.png|Y|world/NC2016_1.jpg|N|Y|N",
        "manipulation|probe/NC2016_0001.jpg|reference/manipulation/mask/NC2016_0398.png|Y|world/NC2016_1.jpg|Y|N|Y",
        "manipulation|probe/NC2016_0001.jpg|reference/manipulation/mask/NC2016_0398.png|Y|world/NC2016_1.jpg|Y|N|Y",
        "manipulation|probe/NC2016_0003.jpg||N||||",
        "manipulation|probe/NC2016_0009.jpg|reference/manipulation/mask/NC2016_0399.png|Y||N|Y|N",
    ]
    r.write_bytes("reference/manipulation/NC2016-manipulation-ref.csv", "\n".join([columns, *rows]).encode())
    folder = "reference/manipulation/mask"
    r.forged("test", "probe/NC2016_0002.jpg", "splicing", f"{folder}/NC2016_0397.png", gray(box(), 179, 180), box())
    values = np.repeat(gray(box(), 0, 255)[..., None], 3, -1)
    values[0, 0] = 0, 0, 255  # not black
    r.forged("test", "probe/NC2016_0001.jpg", "copy_move+removal", f"{folder}/NC2016_0398.png", values, box())
    if not world:
        r.authentic("test", "probe/NC2016_0003.jpg")
    r.photo("world/NC2016_1.jpg")
    if world:
        r.expect("test", "world/NC2016_1.jpg", None)
    r.report[report.LISTED_TWICE] = ["probe/NC2016_0001.jpg"]
    r.report[report.UNUSABLE] = [f"{r.root / 'probe/NC2016_0009.jpg'}: cannot be read"]


def nist16_world(r):
    nist16(r, world=True)


def imd2020(r):
    r.authentic("test", "1a1ogs/1a1ogs_orig.jpg")
    r.forged("test", "1a1ogs/c8tf5mq_0.png", "", "1a1ogs/c8tf5mq_0_mask.png", gray(box(), 1), box())
    r.forged("test", "1a1ogs/c8tg_0.jpg", "", "1a1ogs/c8tg_0_mask.png", gray(box()), box())
    r.authentic("test", "z14/z14_orig.jpg")
    r.forged("test", "z14/c8tg_0.jpg", "", "z14/c8tg_0_mask.png", gray(box(left=0)), box(left=0))
    r.photo("z14/c8tg_1.jpg")
    r.report[report.NO_MASK] = ["z14/c8tg_1.jpg"]
    r.forged("test", "z14/empty.jpg", "", "z14/empty_mask.png", gray(box(), 0), box() & False)
    r.forged("test", "z14/full.jpg", "", "z14/full_mask.png", gray(box(), 9, 9), box() | True)
    r.report[report.EMPTY], r.report[report.FULL] = ["z14/empty.jpg"], ["z14/full.jpg"]


def dso1(r, outer=""):
    r.authentic("test", "DSO-1/normal-01.png", f"{outer}DSO-1/normal-01.png")
    mask = f"{outer}DSO-1-Fake-Images-Masks/splicing-01.png"
    r.forged(
        "test", "DSO-1/splicing-01.png", "splicing", mask, gray(box(), 179, 255), box(), f"{outer}DSO-1/splicing-01.png"
    )


def dso1_outer(r):
    dso1(r, "tifs-database/")


def dso1_white(r):
    r.authentic("test", "DSO-1/normal-01.png")
    r.forged("test", "DSO-1/splicing-01.png", "splicing", "DSO_GT/splicing-01_gt.png", gray(box(), 200, 100), box())


def korus(r, gray_counts=False):
    levels = gray(box(), 255)
    levels[7, :3] = 128
    marked = box()
    marked[7, :3] = gray_counts
    for camera in ("Canon_60D", "Sony_A57"):
        r.authentic("test", f"{camera}/pristine/DPP0001.TIF")
        mask = f"{camera}/ground-truth/DPP0002.PNG"
        r.forged("test", f"{camera}/tampered-realistic/DPP0002.TIF", "", mask, levels, marked)
    r.report[report.NO_FOLDER] = [f"{c} or data-images/{c}" for c in ("Nikon_D90", "Nikon_D7000")]


def korus_gray(r):
    korus(r, gray_counts=True)


def in_the_wild(r):
    r.forged("test", "images/1.jpg", "splicing", "label_in_wild/masks/1.png", gray(box()), box(),
             "label_in_wild/images/1.jpg")  # fmt: skip
    # The EXIF orientation is the viewer's: masks are drawn on the pixels as stored.
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(gray(box())).convert("RGB").save(r.root / "label_in_wild/images/2.jpg", exif=exif)
    r.write("label_in_wild/masks/2.png", gray(box()))
    r.expect("test", "images/2.jpg", box(), "splicing", "label_in_wild/images/2.jpg", "label_in_wild/masks/2.png")


def ifc(r):
    folder = "phase-01/training"
    r.authentic("test", "pristine/aa.png", f"{folder}/pristine/aa.png")
    one = gray(box(), 0, 255)
    three = np.repeat(one[..., None], 3, -1)
    four = np.concatenate([three, gray(box(), 255)[..., None]], -1)  # transparency that says the opposite
    for name, values in (("b1", one), ("b3", three), ("b4", four)):
        mask = f"{folder}/fake/{name}.mask.png"
        r.forged("test", f"fake/{name}.png", "", mask, values, box(), f"{folder}/fake/{name}.png")


def wildweb(r):
    r.authentic("test", "Image/Au/a.jpg")
    r.forged("test", "Image/Tp/b.jpe", "", "Mask/Tp/b.png", gray(box()), box())
    r.photo("Image/Tp/b.bmp")  # the same stem
    r.expect("test", "Image/Tp/b.bmp", box(), "", None, "Mask/Tp/b.png")
    marked = box(left=0, right=2)
    r.write("Mask/Tp/.png", gray(marked))
    for name in (".jpg", ".jpe", ".0.jpg"):
        r.photo(f"Image/Tp/{name}")
        r.expect("test", f"Image/Tp/{name}", marked, "", None, "Mask/Tp/.png")
    r.write_bytes("Image/Tp/._b.jpe", b"what macOS leaves behind")
    r.report[report.LITTER] = ["Image/Tp/._b.jpe"]
    r.report[report.SHARED] = ["Mask/Tp/b.png: 2 images", "Mask/Tp/.png: 3 images"]


def defacto(r):
    """Lists over the whole set."""

    def add(split, kind_folder, name, kind):
        image, mask = (
            f"DEFACTO/{kind_folder}-{part}" for part in (f"images/img/{name}.tif", "annotations/probe_mask/")
        )
        jpeg = np.kron(gray(box(1, 2, 0, 1, 1, 2)), np.ones((8, 8), np.uint8))  # blocks of 8: edges stay
        r.forged(split, image, kind, f"{mask}{name}.jpg", gray(jpeg > 0, 240, 8), jpeg > 0)
        return f"./{image} ./{mask}{name}.jpg 1"

    third = box(8, 24, 0, 0, 8, 8)
    lines = [add("test", "Copy-Move", "7_01", "copy_move"), add("test", "Splicing_2", "7_01", "splicing")]
    r.authentic("test", "CoCo2014/test2014/COCO_1.jpg")
    lines.append("./CoCo2014/test2014/COCO_1.jpg None 0")
    r.photo("CoCo2014/test2014/COCO_2.jpg")  # not listed
    r.write_bytes("DEFACTO12k-test.txt", "\n".join(lines).encode())
    image, mask = "DEFACTO/Face-Swap-images/img/1.tif", "DEFACTO/Face-Swap-annotations/probe_mask/1.jpg"
    r.forged("validation", image, "", mask, gray(third), third)
    r.write_bytes("DEFACTO84k-val.txt", f"{add('validation', 'Inpainting', '3', 'inpainting')}\n".encode())
    r.write_bytes("DEFACTO84k-train.txt", f"./{image} ./{mask} 1\n".encode())


def defacto_folders(r):
    """One folder per split; only one of the two is placed."""
    r.authentic("test", "test/authentic/COCO_1.jpg")
    for folder, kind in (("splicing_1_{}", "splicing"), ("copymove-{}", "copy_move")):
        images, annotations = folder.format("images" if "-" in folder else "img"), folder.format("annotations")
        marked = box(8, 24, 0, 0, 8, 8)
        mask = f"test/{annotations}/probe_mask/0_01.jpg"
        r.forged("test", f"test/{images}/img/0_01.tif", kind, mask, gray(marked), marked)
        r.write(f"test/{annotations}/donor_mask/0_01.tif", gray(~marked))


def autosplice(r, quality=100):
    r.authentic("test", "Authentic/12.jpg")
    for name in ("12_0", "12_1", "7"):
        marked = box(left=0) if name == "7" else box()
        mask = f"Mask/{name.partition('_')[0]}_mask.png"
        r.forged("test", f"Forged_JPEG{quality}/{name}.jpg", "inpainting", mask, gray(marked, 1), marked)
    r.photo("Forged_JPEG90/12_0.jpg")
    r.report[report.SHARED] = ["Mask/12_mask.png: 2 images"]


def autosplice_jpeg75(r):
    autosplice(r, 75)


def cocoglide(r):
    for number, name in ((10363, "dining table"), (49, "cat")):
        r.authentic("test", f"real/{name}_{number}.png")
        fake = f"fake/glide_inpainting_val2017_{number}_up.png"
        r.forged("test", fake, "inpainting", f"mask/{name}_{number}_mask.png", gray(box(), 121, 120), box())
    r.photo("fake/glide_inpainting_val2017_363_up.png")  # 10363 ends so
    r.photo("fake/glide_inpainting_val2017_5_up.png")
    for name in ("dog", "potted plant"):
        r.write(f"mask/{name}_5_mask.png", gray(box()))
    fakes = [f"fake/glide_inpainting_val2017_{n}_up.png" for n in (363, 5)]
    r.report = {
        report.DOUBTFUL: [f"{fakes[1]}: several masks have its id, dog_5_mask.png, potted plant_5_mask.png"],
        report.NO_MASK: fakes,
    }


def diverse_inpainting(r):
    for method, marked in (("CA", box()), ("GC", box(left=0))):
        r.forged("test", f"{method}/0.png", "inpainting", f"{method}/0_mask.png", gray(marked, 1), marked)


CASES = {
    "casia_v1": (casia_v1, casia_v1_mirror, casia_v1_all_in_sp, casia_v1_bare_sp),
    "casia_v1_plus": (casia_v1_plus, casia_v1_plus_unlisted),
    "casia_v2": (casia_v2, casia_v2_mirror),
    "columbia": (columbia,),
    "coverage": (coverage,),
    "nist16": (nist16,),
    "nist16/world": (nist16_world,),
    "imd2020": (imd2020,),
    "dso1": (dso1, dso1_outer, dso1_white),
    "korus": (korus,),
    "korus/grey": (korus_gray,),
    "in_the_wild": (in_the_wild,),
    "ifc": (ifc,),
    "wildweb": (wildweb,),
    "defacto": (defacto, defacto_folders),
    "autosplice": (autosplice,),
    "autosplice/jpeg75": (autosplice_jpeg75,),
    "cocoglide": (cocoglide,),
    "diverse_inpainting": (diverse_inpainting,),
}


def prepared(name, lay_out, tmp_path):
    """The replica of a set, and its builder once it is prepared."""
    replica = Replica(tmp_path / "files")
    lay_out(replica)
    return replica, prepare(name, replica.root, tmp_path / "prepared")


@pytest.mark.parametrize(("name", "lay_out"), [(name, one) for name, several in CASES.items() for one in several])
def test_set_as_distributed(name, lay_out, tmp_path):
    replica, builder = prepared(name, lay_out, tmp_path)
    assert set(builder.info.splits) == set(replica.examples)
    for split, expected in replica.examples.items():
        found = {example["id"].decode(): example for example in load(name, split, tmp_path / "prepared")}
        assert list(found) == sorted(expected)
        for identifier, (kind, marked, image_file, mask_file) in expected.items():
            example = found[identifier]
            texts = (kind, image_file, mask_file)
            assert tuple(example[key].decode() for key in ("kind", "image_file", "mask_file")) == texts, identifier
            assert example["label"] == (marked is not None), identifier
            assert example["image"] == (replica.root / image_file).read_bytes(), identifier
            mask = cv2.imdecode(np.frombuffer(example["mask"], np.uint8), cv2.IMREAD_UNCHANGED)
            marked = np.zeros(mask.shape, bool) if marked is None else marked
            np.testing.assert_array_equal(mask, marked * 255, identifier)
            assert mask.shape == cv2.imread(str(replica.root / image_file), cv2.IMREAD_IGNORE_ORIENTATION).shape[:2]
    notes = builder.info.metadata["report"]
    assert {heading: len(lines) for heading, lines in notes.items()} == {k: len(v) for k, v in replica.report.items()}
    for heading, lines in replica.report.items():
        for begins, line in zip(sorted(lines), sorted(notes[heading]), strict=True):
            assert line.startswith(begins)


def test_every_set_of_the_table_is_there():
    assert {name.partition("/")[0] for name in CASES} == set(BUILDERS)
    assert len(BUILDERS) == 16
    for name, builder in BUILDERS.items():
        assert "Layout" in builder.MANUAL_DOWNLOAD_INSTRUCTIONS, name
        assert ("unverified;" in builder.__doc__) == issubclass(builder, UnverifiedPolarity), name


@pytest.mark.parametrize(
    ("name", "lay_out", "words"),
    [
        ("ifc", ifc, "unverified: values below 127.5 are taken for manipulated, as the smaller area (15.6%"),
        ("wildweb", wildweb, "unverified: values above 127.5 are taken for manipulated"),
        ("diverse_inpainting", diverse_inpainting, "unverified: values above 0.5 are taken for manipulated"),
        ("dso1", dso1, "Values below 180"),
        ("dso1", dso1_white, "Values above 120"),
        ("columbia", columbia, "Values above 120 in the green channel"),
        ("korus", korus, "White, of the three levels"),
        ("korus/grey", korus_gray, "White or gray, of the three levels"),
    ],
)
def test_polarity_is_told(name, lay_out, words, tmp_path, capsys):
    _, builder = prepared(name, lay_out, tmp_path)
    assert builder.info.metadata["polarity"].startswith(words)
    assert f"polarity: {words}" in capsys.readouterr().out


def test_what_was_found_is_printed_and_kept(tmp_path, capsys):
    _, builder = prepared("casia_v1", casia_v1, tmp_path)
    printed = capsys.readouterr().out
    assert "test: 1 authentic, 6 manipulated" in printed
    assert "warning: test: 1 authentic, expected 800" in printed
    assert "warning: test: 6 manipulated, expected 920" in printed
    assert "images skipped, no mask (1): Tp/Sp/Sp_D_NRN_A_cha0011_sec0011_0542.jpg" in printed
    assert "ownload" not in printed
    metadata = BUILDERS["casia_v1"](data_dir=tmp_path / "prepared").info.metadata
    assert metadata["counts"] == {"test": {"authentic": 1, "manipulated": 6}}
    assert metadata == builder.info.metadata


def test_a_prepared_set_is_used_again(tmp_path, capsys):
    replica, _ = prepared("coverage", coverage, tmp_path)
    before = [example["id"] for example in load("coverage", data_dir=tmp_path / "prepared")]
    (replica.root / "image/1.tif").unlink()
    prepare("coverage", tmp_path / "nowhere", tmp_path / "prepared")
    assert "prepared before" in capsys.readouterr().out
    assert [example["id"] for example in load("coverage", data_dir=tmp_path / "prepared")] == before


def test_several_files_of_records_keep_the_order(tmp_path, monkeypatch):
    monkeypatch.setattr(ManipulationDataset, "FILE_BYTES", 1000)
    replica, builder = prepared("casia_v2", casia_v2, tmp_path)
    assert len(list(builder.data_path.glob("*array_record*"))) == builder.info.splits["train"].num_shards > 2
    source = load("casia_v2", data_dir=tmp_path / "prepared")
    assert [example["id"].decode() for example in source] == sorted(replica.examples["train"])
    assert builder.info.splits["train"].num_examples == len(replica.examples["train"])


def test_the_source_can_be_sent_to_workers(tmp_path):
    prepared("coverage", coverage, tmp_path)
    source = load("coverage", data_dir=tmp_path / "prepared")
    assert pickle.loads(pickle.dumps(source))[3]["image"] == source[3]["image"]
    assert len(load("coverage", "test[:2]", tmp_path / "prepared")) == 2


def test_names_and_splits_that_do_not_exist(tmp_path):
    data_dir = tmp_path / "prepared"
    for call in (lambda: load("casia"), lambda: prepare("casia", tmp_path)):
        with pytest.raises(ValueError, match="'casia': no such dataset; there are casia_v1, casia_v1_plus"):
            call()
    with pytest.raises(ValueError, match="no configuration 'white'; it has autosplice/jpeg100, autosplice/jpeg90"):
        load("autosplice/white", data_dir=data_dir)
    with pytest.raises(ValueError, match="columbia has no configuration 'x'; it has none"):
        load("columbia/x", data_dir=data_dir)
    with pytest.raises(FileNotFoundError, match=r"not prepared in .*; run: pimjax prepare-data defacto --from DIR"):
        load("defacto", data_dir=data_dir)
    prepared("defacto", defacto, tmp_path)
    with pytest.raises(ValueError, match="defacto: has the splits validation, test; name one"):
        load("defacto", data_dir=data_dir)
    with pytest.raises(ValueError, match="defacto: no split 'train'; it has"):
        load("defacto", "train", data_dir)


def test_only_one_split_of_defacto(tmp_path):
    _, builder = prepared("defacto", defacto_folders, tmp_path)
    assert builder.info.metadata["warnings"][0] == "validation: not found"
    assert len(load("defacto", data_dir=tmp_path / "prepared")) == 3


@pytest.mark.parametrize("name", BUILDERS)
def test_wrong_folders(name, tmp_path):
    (tmp_path / "files").mkdir()
    for folder, words in (("nowhere", "is no folder"), ("files", "is empty")):
        with pytest.raises(FileNotFoundError, match=words) as error:
            prepare(name, tmp_path / folder, tmp_path / "prepared")
        assert str(tmp_path / folder) in str(error.value) and "Layout" in error.value.__notes__[0]
    replica = Replica(tmp_path / "files")
    replica.photo("holidays/beach.jpg")
    with pytest.raises(FileNotFoundError, match=f"not {name} as it is distributed: .+ Give the folder") as error:
        prepare(name, tmp_path / "files", tmp_path / "prepared")
    assert str(tmp_path / "files") in str(error.value) and "Layout" in error.value.__notes__[0]
    with pytest.raises(FileNotFoundError, match="not prepared"):
        load(name, data_dir=tmp_path / "prepared")


def test_nothing_usable(tmp_path):
    for name in ("1.tif", "1t.tif"):
        Replica(tmp_path).write_bytes(f"image/{name}", b"no image")
    (tmp_path / "mask").mkdir()
    with pytest.raises(ValueError, match=r"no image of coverage \(test\) can be used; the last: image/1.tif: damaged"):
        prepare("coverage", tmp_path, tmp_path / "prepared")
    assert not list((tmp_path / "prepared").glob("coverage/1.0.0*"))


def test_index_of_nist16_without_its_columns(tmp_path):
    Replica(tmp_path).write_bytes(
        "reference/manipulation/NC2016-manipulation-ref.csv", b"ProbeFileName,IsTarget\na,Y\n"
    )
    with pytest.raises(ValueError, match="no column ProbeFileName, ProbeMaskFileName, IsTarget"):
        prepare("nist16", tmp_path, tmp_path / "prepared")


def test_list_with_a_broken_line(tmp_path):
    (tmp_path / "list.txt").write_text("a.jpg None 0\nb c.jpg None 0\n")
    with pytest.raises(ValueError, match=r"list\.txt, line 2: 4 columns"):
        lists.read_list(tmp_path / "list.txt")
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not text in UTF-8"):
        lists.read_list(tmp_path / "list.txt")


RULES = {  # gray values and what each rule makes of them
    polarity.nonzero: {0: False, 1: True, 255: True},
    polarity.white: {0: False, 120: False, 121: True},
    polarity.black: {0: True, 179: True, 180: False},
    polarity.white_not_gray: {0: False, 128: False, 191: False, 192: True},
    polarity.white_or_gray: {0: False, 63: False, 64: True, 128: True, 255: True},
}


@pytest.mark.parametrize("rule", RULES)
def test_polarity_at_the_thresholds(rule):
    values = np.array([list(RULES[rule])], np.uint8)
    expected = np.array([list(RULES[rule].values())])
    np.testing.assert_array_equal(rule(values), expected)
    np.testing.assert_array_equal(rule(np.repeat(values[..., None], 3, -1)), expected)
    np.testing.assert_array_equal(rule(values.astype(np.uint16) << 8), expected)  # 16 bits
    np.testing.assert_array_equal(rule(np.array([[False, True]])), rule(np.array([[0, 255]], np.uint8)))


def test_polarity_of_colors():
    colors = np.array([[[255, 0, 0], [0, 255, 0], [255, 120, 255], [0, 121, 0]]], np.uint8)
    assert polarity.green(colors).tolist() == [[False, True, False, True]]
    assert polarity.nonzero(colors).all()
    assert not polarity.white(colors).any() and not polarity.black(colors[:, :2]).any()
    with pytest.raises(ImageError, match="one channel"):
        polarity.green(colors[..., 0])
    with pytest.raises(ImageError, match="float32"):
        polarity.white(colors.astype(np.float32))


def test_minority_counts_masks_not_pixels():
    large, small = gray(np.ones((40, 40), bool)), gray(box(top=0, bottom=1))
    inferred = polarity.minority([large, small, small, small])
    assert inferred.above and inferred.masks == 4 and inferred.share == pytest.approx((1 + 3 * 5 / 96) / 4)
    np.testing.assert_array_equal(inferred.marks(gray(box())), box())
    np.testing.assert_array_equal(polarity.minority([gray(box(), 0, 255)]).marks(gray(box(), 0, 255)), box())
    for masks in ([], [large]):
        with pytest.raises(ValueError, match="fewer than two values"):
            polarity.minority(masks)


def test_masks_of_a_sample_decide(tmp_path, monkeypatch):
    monkeypatch.setattr(BUILDERS["diverse_inpainting"], "SAMPLE", 1)
    _, builder = prepared("diverse_inpainting", diverse_inpainting, tmp_path)
    assert builder.info.metadata["polarity"].endswith("of 1 masks)")


def test_masks_that_are_all_of_one_value(tmp_path):
    replica = Replica(tmp_path)
    replica.forged("test", "CA/0.png", "", "CA/0_mask.png", gray(box(), 7, 7), box())
    with pytest.raises(ValueError, match=f"{tmp_path}: the 1 masks read hold fewer than two values"):
        prepare("diverse_inpainting", tmp_path, tmp_path / "prepared")


@pytest.mark.parametrize(("turns", "direction"), [(1, "90° clockwise"), (-1, "90° counter-clockwise")])
def test_direction_of_rotation(turns, direction):
    marked = box(20, 32, 2, 4, 8, 15)
    image = np.repeat(gray(marked, 200, 90)[..., None], 3, -1)
    mask, change, particulars = mask_alignment.orient_mask(np.rot90(marked, turns), image)
    np.testing.assert_array_equal(mask, marked)
    assert change == "rotated" and particulars.startswith(direction)


def test_masks_are_scaled_by_nearest_neighbor():
    mask, change, particulars = mask_alignment.orient_mask(box(4, 4, 0, 0, 2, 2), np.zeros((8, 24, 3), np.uint8))
    np.testing.assert_array_equal(mask, box(8, 24, 0, 0, 4, 12))
    assert (change, particulars) == ("scaled", "from 4×4 to 24×8, of other proportions")
    mask, change, particulars = mask_alignment.orient_mask(np.ones((383, 582), bool), np.zeros((392, 591, 3), np.uint8))
    assert mask.shape == (392, 591) and mask.all() and particulars.endswith("591×392, of other proportions")
    assert (
        mask_alignment.orient_mask(np.ones((384, 255), bool), np.zeros((384, 256, 3), np.uint8))[2]
        == "from 255×384 to 256×384"
    )


def test_pairs_of_names():
    images = ["Sp_D_a_b_0001", "Sp_D_c_d_0001", "Sp_D_e_f_0002", "Sp_D_g_h_0002", "Sp_D_i_j_0003", "Sp_D_k_l_0004"]
    masks = ["Sp_D_a_b_0001", "Sp_S_c_d_0001", "Sp_S_x_y_0002", "Sp_S_i_z_0003", "Sp_S_j_z_0003"]
    # One mask for two images (0002), two masks as close (0003), no mask (0004): none of them is paired.
    assert pair_stems(images, masks) == {"Sp_D_a_b_0001": "Sp_D_a_b_0001", "Sp_D_c_d_0001": "Sp_S_c_d_0001"}
    # A mask that has its image is no other's.
    assert pair_stems(["Sp_D_a_b_0001", "Sp_D_c_d_0001"], masks[:1]) == {"Sp_D_a_b_0001": "Sp_D_a_b_0001"}


def test_counts_that_are_known_in_two_versions():
    expected = {"test": ((560, 874), (564,)), "validation": ((), ())}
    counts = {"test": {"authentic": 874, "manipulated": 565}, "validation": {"authentic": 1, "manipulated": 2}}
    assert report.count_warnings(counts, expected) == ["test: 565 manipulated, expected 564"]
    counts["test"] = {"authentic": 875, "manipulated": 564}
    assert report.count_warnings(counts, expected) == ["test: 875 authentic, expected 560 or 874"]


def test_long_reports_are_shortened_in_print():
    metadata = {
        "counts": {},
        "polarity": "",
        "warnings": [],
        "report": {report.SCALED: [f"{i}.png" for i in range(1000)]},
    }
    assert "(1,000): 0.png; 1.png; 2.png; and 997 more, in the metadata" in report.summary(metadata)


def test_no_tensorflow():
    import sys

    assert catalog and "tensorflow" not in sys.modules


def test_a_set_is_prepared_by_command_and_then_a_source_by_name(tmp_path):
    """As a user does it: prepare, then check and train under the name tfds:…"""
    replica = Replica(tmp_path / "files")
    for number in range(3):
        name = f"{number}/a{number}"
        replica.forged("test", f"{name}.jpg", "", f"{name}_mask.png", gray(box(40, 60, 10, 10, 30, 30)),
                       box(40, 60, 10, 10, 30, 30))  # fmt: skip
        replica.photo(f"{number}/{number}_orig.jpg", 40, 60)

    def pimjax(*arguments):
        code = "import sys; from pimjax.cli import main; sys.exit(main())"
        environment = os.environ | {"TFDS_DATA_DIR": str(tmp_path / "prepared")}
        return subprocess.run(
            [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, cwd=tmp_path
        )

    missing = pimjax("check-data", "tfds:imd2020")
    assert missing.returncode == 1
    assert "pimjax prepare-data imd2020 --from DIR" in missing.stderr
    unknown = pimjax("prepare-data", "casia", "--from", str(replica.root))
    assert unknown.returncode == 1
    assert "no such dataset; there are casia_v1, " in unknown.stderr
    done = pimjax("prepare-data", "imd2020", "--from", str(replica.root))
    assert done.returncode == 0, done.stderr
    assert "3 authentic, 3 manipulated" in done.stdout
    checked = pimjax("check-data", "tfds:imd2020")
    assert "6: 3 manipulated, 3 authentic, 0 unusable" in checked.stdout, checked.stderr
    rows = json.loads((tmp_path / "check" / "check.json").read_text(encoding="utf-8"))["examples"]
    assert [row["marked"] for row in rows].count(None) == 3
    assert {row["marked"] for row in rows} == {None, 400 / 2400}

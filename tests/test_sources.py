"""Folders, manifests and installed photographs."""

import cv2
import numpy as np
import pytest

from pimjax.data.images import ImageError
from pimjax.data.sources import INSTALLED, SkipBroken, csv_source, folder_source, open_source


@pytest.fixture
def photos(tmp_path):
    """a.png, b.png and the mask m.png of a."""
    for i, name in enumerate(("b.png", "a.png")):
        cv2.imwrite(str(tmp_path / name), np.full((8, 10, 3), 50 * i, np.uint8))
    mask = np.zeros((8, 10), np.uint8)
    mask[:2] = 255
    cv2.imwrite(str(tmp_path / "m.png"), mask)
    return tmp_path


def test_a_folder_holds_authentic_photographs_in_order(photos):
    (photos / "sub").mkdir()
    (photos / "m.png").rename(photos / "sub" / "C.PNG")
    (photos / "notes.txt").write_text("no photo")
    (photos / ".hidden.png").write_text("no photo")
    source = folder_source(photos)
    assert [source[i]["id"].rsplit("/")[-1] for i in range(len(source))] == ["a.png", "b.png", "C.PNG"]
    assert source[0]["image"].shape == (8, 10, 3)
    assert not source[0]["mask"].any()


@pytest.mark.parametrize(
    "text",
    [
        "image,mask\na.png,m.png\nb.png,\n",
        "mask,label,image\nm.png,1,a.png\nNone,0,b.png\n",
        "\ufeffImage,Mask,boundary\r\na.png,m.png,x\r\n\r\nb.png,None,x\r\n",
        "a.png,m.png,1\nb.png,None,0\n",
        "a.png,m.png,edge.png,1\nb.png,,,0\n",
    ],
    ids=["header", "columns in another order", "byte-order mark", "headerless", "headerless with boundary"],
)
def test_manifests_with_and_without_header(photos, text):
    (photos / "list.csv").write_text(text, encoding="utf-8")
    source = open_source(f"csv:{photos / 'list.csv'}")
    assert len(source) == 2
    assert source[0]["id"].endswith("a.png")
    assert source[0]["mask"].sum() == 20 * 255
    assert source[1]["id"].endswith("b.png")
    assert not source[1]["mask"].any()


def test_a_manifest_of_images_alone(photos):
    (photos / "list.csv").write_text("image\na.png\nb.png\n")
    assert [bool(example["mask"].any()) for example in map(csv_source(photos / "list.csv").__getitem__, (0, 1))] == [
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no images"),
        ("image,mask\n", "lists no images"),
        ("image,mask\na.png,m.png\n,m.png\n", "line 3: no image in column 1"),
        (b"\xff\xfe\x00", "not a CSV file in UTF-8"),
    ],
)
def test_unusable_manifests_are_refused_by_name(tmp_path, text, message):
    (tmp_path / "list.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=rf"list\.csv.*{message}"):
        csv_source(tmp_path / "list.csv")


def test_a_mask_of_another_size_is_refused(photos):
    cv2.imwrite(str(photos / "m.png"), np.zeros((4, 5), np.uint8))
    (photos / "list.csv").write_text("a.png,m.png\n")
    with pytest.raises(ImageError, match=r"m\.png: the mask is 5×4 pixels, its image .*a\.png is 10×8"):
        csv_source(photos / "list.csv")[0]


@pytest.mark.parametrize("name", ["", "csv:", "folders:x", "installed:test"])
def test_unknown_source_names_are_refused(name):
    with pytest.raises(ValueError, match="installed:train"):
        open_source(name)


def test_empty_and_missing_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no photographs"):
        folder_source(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        folder_source(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no such manifest"):
        csv_source(tmp_path / "nowhere.csv")


def test_installed_photographs_are_real_and_apart():
    train, validation = open_source("installed:train"), open_source("installed:validation")
    assert (len(train), len(validation)) == (6, 2)
    assert not set(INSTALLED["train"]) & set(INSTALLED["validation"])
    for source in (train, validation):
        for i in range(len(source)):
            image = source[i]["image"]
            assert min(image.shape[:2]) >= 300
            assert image.std(axis=(0, 1)).min() > 10


def test_broken_images_are_replaced_by_the_next_and_named(photos):
    (photos / "a.png").write_bytes(b"broken")
    source = SkipBroken(folder_source(photos))
    assert source[0]["id"].endswith("b.png")
    assert "a.png: damaged" in source[0]["skipped"]
    assert source[1]["skipped"] == ""
    for name in ("b.png", "m.png"):
        (photos / name).write_bytes(b"broken")
    with pytest.raises(ValueError, match="none of its images can be read"):
        source[0]

"""Folders, manifests and installed photographs."""

import cv2
import numpy as np
import pytest

from pimjax.data.images import ImageError
from pimjax.data.registry import INSTALLED, csv_source, folder_source, load_source
from pimjax.data.sources import SkipUnreadable


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
    source = load_source(f"csv:{photos / 'list.csv'}")
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
        ("image,mask\na.png,m.png\n,m.png\n", "line 3: no image"),
        ("a.png,m.png,1\nb.png,None,1\n", r"line 2: label 1 \(manipulated\), yet no mask"),
        (b"\xff\xfe\x00", "not a CSV file in UTF-8"),
    ],
)
def test_unusable_manifests_are_refused_by_name(tmp_path, text, message):
    (tmp_path / "list.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=rf"list\.csv.*{message}"):
        csv_source(tmp_path / "list.csv")


def test_a_mask_of_another_shape_is_refused(photos):
    cv2.imwrite(str(photos / "m.png"), np.zeros((10, 8), np.uint8))
    (photos / "list.csv").write_text("a.png,m.png\n")
    with pytest.raises(ImageError, match=r"m\.png: the mask is 8×10 pixels, its image .*a\.png is 10×8"):
        csv_source(photos / "list.csv")[0]


def test_a_smaller_mask_of_the_same_shape_is_scaled(photos):
    cv2.imwrite(str(photos / "m.png"), cv2.imread(str(photos / "m.png"))[::2, ::2])
    (photos / "list.csv").write_text("a.png,m.png\n")
    mask = csv_source(photos / "list.csv")[0]["mask"]
    assert mask.shape == (8, 10)
    assert (mask[:2] == 255).all()
    assert not mask[2:].any()


@pytest.mark.parametrize("name", ["", "csv:", "folders:x", "installed:test"])
def test_unknown_source_names_are_refused(name):
    with pytest.raises(ValueError, match="installed:train"):
        load_source(name)


def test_json_pairs(photos):
    (photos / "list.json").write_text('[["a.png", "m.png"], ["b.png", "Negative"]]')
    source = load_source(f"json:{photos / 'list.json'}")
    assert [source[i]["id"].rsplit("/")[-1] for i in (0, 1)] == ["a.png", "b.png"]
    assert [source[i]["mask"].sum() for i in (0, 1)] == [20 * 255, 0]
    for text, message in (('{"a": 1}', "write a list of pairs"), ("[", "not JSON"), ('[["a.png"]]', "write a list")):
        (photos / "list.json").write_text(text)
        with pytest.raises(ValueError, match=rf"list\.json: {message}"):
            load_source(f"json:{photos / 'list.json'}")


def test_folder_pairs(photos):
    for folder, file in (("Tp/x", "a.png"), ("Gt/x", "m.png"), ("Au", "b.png")):
        (photos / folder).mkdir(parents=True)
        (photos / file).rename(photos / folder / file.replace("m.png", "a_gt.png"))
    source = load_source(f"pairs:{photos}")
    assert [source[i]["mask"].sum() for i in range(len(source))] == [20 * 255, 0]
    (photos / "Gt" / "x" / "a_gt.png").unlink()
    with pytest.raises(ValueError, match=r"a\.png: no mask x/a or x/a_gt"):
        load_source(f"pairs:{photos}")


def test_folder_pairs_without_pairs_are_refused(tmp_path):
    for folder in ("Tp", "Gt"):
        (tmp_path / folder).mkdir()
    with pytest.raises(ValueError, match="holds no images in Tp"):
        load_source(f"pairs:{tmp_path}")


def test_segments_are_labels_of_the_image_s_size(photos):
    labels = np.arange(80, dtype=np.uint16).reshape(8, 10) * 300
    cv2.imwrite(str(photos / "s.png"), labels)
    (photos / "list.csv").write_text("image,segments\na.png,s.png\n")
    np.testing.assert_array_equal(csv_source(photos / "list.csv")[0]["segments"], labels)


def test_empty_and_missing_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no photographs"):
        folder_source(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        folder_source(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no such manifest"):
        csv_source(tmp_path / "nowhere.csv")


def test_installed_photographs_are_real_and_apart():
    train, validation = load_source("installed:train"), load_source("installed:validation")
    assert (len(train), len(validation)) == (6, 2)
    assert not set(INSTALLED["train"]) & set(INSTALLED["validation"])
    for source in (train, validation):
        for i in range(len(source)):
            image = source[i]["image"]
            assert min(image.shape[:2]) >= 300
            assert image.std(axis=(0, 1)).min() > 10


def test_broken_images_are_replaced_by_the_next_and_named(photos):
    (photos / "a.png").write_bytes(b"broken")
    source = SkipUnreadable(folder_source(photos))
    assert source[0]["id"].endswith("b.png")
    assert "a.png: damaged" in source[0]["skipped"]
    assert source[1]["skipped"] == ""
    for name in ("b.png", "m.png"):
        (photos / name).write_bytes(b"broken")
    with pytest.raises(ValueError, match="none of its images can be read"):
        source[0]


def test_kept_photographs_are_decoded_once(photos):
    source = folder_source(str(photos)).cache_decoded()
    first = source[0]["image"].copy()
    for path in photos.iterdir():
        path.unlink()
    np.testing.assert_array_equal(source[0]["image"], first)
    with pytest.raises((ImageError, OSError)):
        source[1]

"""Tables and lists of images: separators, headers, and labels, which must agree with the masks."""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from pimjax.cli import main
from pimjax.data.datasets import challenges, lists
from pimjax.data.images import ImageError
from pimjax.data.registry import csv_source, load_source
from pimjax.data_checks.facts import read_facts

CASES = Path(__file__).parent / "cases"
MANIPULATED = ("1", "1.0", "True", "yes", "FAKE", "tampered", "Manipulated", "forged", "spliced", "copy-move")
AUTHENTIC = ("0", "0.0", "False", "no", "Real", "authentic", "original", "PRISTINE", "untampered")


@pytest.fixture
def folder(tmp_path):
    """a.png and b.png; m.png, which marks pixels, and black.png, which marks none."""
    mask = np.zeros((8, 10), np.uint8)
    for name in ("a", "b", "black"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), mask)
    mask[:2] = 255
    cv2.imwrite(str(tmp_path / "m.png"), mask)
    return tmp_path


def listed(folder, text):
    """Image, mask and label of each row of a manifest."""
    (folder / "list.csv").write_text(text, encoding="utf-8", newline="")
    records = csv_source(folder / "list.csv").records
    return [(r.image.name, r.mask.name if r.mask else None, r.label) for r in records]


def refused(folder, text, message):
    with pytest.raises(ValueError, match=message) as error:
        listed(folder, text)
    assert str(folder / "list.csv") in str(error.value) and "\n" not in str(error.value)


def test_a_label_without_its_mask_is_refused_in_any_spelling(folder, tmp_path, capsys):
    for case, word in (("true", "True"), ("words", r"1\.0")):
        with pytest.raises(ValueError, match=rf"{case}\.csv, line 2: label {word} \(manipulated\), yet no mask"):
            load_source(f"csv:{CASES}/B08_label_words/{case}.csv")
    shutil.copytree(CASES / "B08_label_words", tmp_path / "D")
    output = str(tmp_path / "out")
    assert (
        main(["evaluate", "--model", "everything", "--source", f"csv:{tmp_path}/D/zero.csv", "--output", output]) == 1
    )
    said = capsys.readouterr()
    assert "zero.csv, line 2: " in said.out + said.err and "is labeled authentic, yet its mask" in said.out + said.err
    for word in MANIPULATED:
        refused(
            folder, f"image,mask,label\nb.png,,0\na.png,,{word}\n", rf"line 3: label {word} \(manipulated\), yet no"
        )
        refused(folder, f"b.png,None,0\na.png,None,{word}\n", rf"line 2: label {word} \(manipulated\), yet no mask")
        refused(folder, f"image,is_forged\na.png,{word}\n", r"line 2: label .* \(manipulated\), yet no mask")
    for word in ("2", "fakee", "maybe", "e.png"):
        refused(
            folder, f"image,mask,label\n\n# x\na.png,m.png,{word}\n", rf"line 4: label '{word}' is unknown; write 1"
        )
        refused(folder, f"a.png,m.png,{word}\n", rf"line 1: label '{word}' is unknown")


def test_labels_are_read_in_any_spelling(folder):
    for words, label, mask in (
        (MANIPULATED, True, "m.png"),
        (AUTHENTIC, False, None),
        (("", "None", "nan"), None, None),
    ):
        for word in words:
            expected = [("a.png", mask, label)]
            assert listed(folder, f"image,mask,label\na.png,{mask or ''},{word}\n") == expected
            assert listed(folder, f"a.png,{mask},{word}\n") == expected


@pytest.mark.parametrize(
    ("mask", "label", "message"),
    [
        ("m.png", "0", r"a\.png is labeled authentic, yet its mask .*m\.png marks 25\.00% of it"),
        ("m.png", "real", r"a\.png is labeled authentic, yet its mask .*m\.png marks 25\.00% of it"),
        ("black.png", "fake", r"a\.png is labeled manipulated, yet its mask .*black\.png marks nothing"),
        ("black.png", "1", r"a\.png is labeled manipulated, yet its mask .*black\.png marks nothing"),
    ],
)
def test_masks_that_contradict_their_label_are_refused_when_decoded(folder, mask, label, message):
    for text, line in (
        (f"image,mask,label\nb.png,,\na.png,{mask},{label}\n", 3),
        (f"b.png,,\na.png,{mask},{label}\n", 2),
    ):
        (folder / "list.csv").write_text(text)
        source = csv_source(folder / "list.csv")
        source[0]
        with pytest.raises(ImageError, match=rf"list\.csv, line {line}: .*{message}; correct the line"):
            source[1]
        assert f"line {line}" in read_facts(source, 1).error


def test_masks_that_agree_are_kept(folder):
    text = "image,mask,label\na.png,m.png,1\na.png,black.png,0\na.png,m.png,\na.png,black.png,\n"
    (folder / "list.csv").write_text(text)
    assert [bool(csv_source(folder / "list.csv")[i]["mask"].any()) for i in range(4)] == [True, False, True, False]


def test_a_label_that_was_changed_is_looked_at_again(folder, tmp_path):
    arguments = ["evaluate", "--model", "everything", "--source", f"csv:{folder}/l.csv", "--output", f"{tmp_path}/out"]
    for label, status in (("1", 0), ("0", 1)):
        (folder / "l.csv").write_text(f"image,mask,label\na.png,m.png,{label}\n")
        assert main(arguments) == status


def test_json_lists_have_many_words_for_no_mask(folder):
    pairs = [["a.png", "m.png"], *(["b.png", word] for word in ("Negative", "negative", None, "", "None"))]
    (folder / "list.json").write_text(json.dumps(pairs))
    source = load_source(f"json:{folder}/list.json")
    assert [record.mask is not None for record in source.records] == [True] + [False] * 5
    for text, message in (
        ('[["a.png", 1]]', "write a list of pairs"),
        ('[["a.png", "m.png"], ["a\\u0000.png", ""]]', "pair 2: .* NUL byte"),
        ("[" * 100_000, "not JSON"),
    ):
        (folder / "list.json").write_text(text)
        with pytest.raises(ValueError, match=rf"list\.json.*{message}"):
            load_source(f"json:{folder}/list.json")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("b.jpg None 1", r"label 1 \(manipulated\), yet no mask"),
        ("b.jpg none True", r"label True \(manipulated\), yet no mask"),
        ("b.jpg m.png 0", r"label 0 \(authentic\), yet the mask m\.png"),
        ("b.jpg m.png perhaps", "label 'perhaps' is unknown"),
    ],
)
def test_lists_of_datasets_are_held_to_their_labels(tmp_path, line, message):
    (tmp_path / "list.txt").write_text(f"a.jpg None 0\n./c.jpg ./m.png fake\n{line}\n")
    with pytest.raises(ValueError, match=rf"list\.txt, line 3: {message}"):
        lists.read_list(tmp_path / "list.txt")


def test_the_index_of_nist16_says_yes_or_no(tmp_path):
    header = "ProbeFileName|ProbeMaskFileName|IsTarget\n"
    (tmp_path / "index.csv").write_text(f"{header}a.jpg|a.png|Y\nb.jpg||N\nc.jpg|c.png|yes\n")
    assert [row["IsTarget"] for row in challenges._rows(tmp_path / "index.csv")] == [True, False, True]
    (tmp_path / "index.csv").write_text(f"{header}a.jpg|a.png|Y\nb.jpg|b.png|?\n")
    with pytest.raises(ValueError, match=r"index\.csv, row 2: IsTarget is '\?'"):
        challenges._rows(tmp_path / "index.csv")


@pytest.mark.parametrize("case", ["semi", "tab", "names"])
def test_separators_and_usual_names(case):
    (record,) = load_source(f"csv:{CASES}/B21_csv_headers/{case}.csv").records
    assert (record.image.name, record.mask.name) == ("f0.jpg", "f0_m.png")


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_pipe_is_no_manifest(tmp_path, kind):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe: a named pipe, not a file"):
        load_source(f"{kind}:{tmp_path}/pipe")


def test_a_nul_byte_is_named():
    with pytest.raises(ValueError, match=r"nul\.csv, line 2: 'f0\\x00\.jpg' has a NUL byte"):
        load_source(f"csv:{CASES}/B21_csv_headers/nul.csv")


@pytest.mark.parametrize(
    "text",
    [
        "image_path,mask_path\na.png,m.png\nb.png,\n",
        "File Name;Ground-Truth;Class\na.png;m.png;fake\nb.png;;real\n",
        "# made by hand\n\nimage , mask\n# the first\na.png, m.png\n\nb.png, None\n",
        "# mask,image\nm.png,a.png\n,b.png\n",  # as NumPy writes a header
        "sep=;\r\nimage;mask\r\na.png;m.png\r\nb.png;\r\n",  # as Excel does
        ",image,mask\n0,a.png,m.png\n1,b.png,nan\n",  # as pandas does
        f"#{'long ' * 999}\nimage,mask\na.png,m.png\nb.png,\n",
        '"image", "mask"\n"a.png", "m.png"\n"b.png", ""\n',
        "a.png|m.png\nb.png|NONE\n",
        "a.png\tm.png\t1\r\nb.png\t\t0\r\n",
        "path,width,gt,note\na.png,10,m.png,\nb.png,10,,dark\n",
        "image,mask\ra.png,m.png\rb.png,\r",
    ],
)
def test_manifests_as_people_write_them(folder, text):
    assert [row[:2] for row in listed(folder, text)] == [("a.png", "m.png"), ("b.png", None)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("picture,truth\na.png,m.png\n", 'line 1: no column "image".*columns, separated by comma: picture, truth'),
        ("# x\nmask;label\nm.png;1\n", 'line 2: no column "image".*columns, separated by semicolon: mask, label'),
        ("image,solution\na.png,m.png\n", 'line 1: no column "mask", but column solution names image files'),
        ("filename,path,gt\na.png,a.png,m.png\n", "filename and path may be the column image"),
        ("image,mask,mask\na.png,m.png,b.png\n", "mask and mask may be the column mask"),
        ("image,mask\na.png,m.png\nb, c.png,m.png\n", "line 3: 3 cells, but 2 in the first line"),
        ("a.png\nb.png,m.png\n", "line 2: 2 cells, but 1 in the first line"),
        ('image,mask\na.png,m.png\n"b.png,m.png\nc.png,m.png\n', "not a CSV file from line 3 on"),
        ("image,mask\n# a.png,m.png\n", "lists no images below its header"),
        ("# a.png,m.png\n", "lists no images"),
    ],
)
def test_what_is_not_understood_is_named(folder, text, message):
    refused(folder, text, message)


def test_names_with_signs_are_names(folder):
    for name in ("#1.png", "a;b.png", "c, d.png", "e|f.png"):
        cv2.imwrite(str(folder / name), np.zeros((8, 8, 3), np.uint8))
        quoted = f'"{name}"' if "," in name else name
        assert listed(folder, f"{quoted},m.png\nb.png,\n") == [(name, "m.png", None), ("b.png", None, None)]
        assert listed(folder, f"image,mask\n{quoted},m.png\n") == [(name, "m.png", None)]
    assert listed(folder, "c, d.png;m.png\n") == [("c, d.png", "m.png", None)]
    # Names of formats that are not read are no header: reading them says what is wrong.
    assert listed(folder, "a.heic,m.gif\nb.png,\n")[0] == ("a.heic", "m.gif", None)


@pytest.mark.parametrize("text", ["image,mask\na.png,m.png\nb.png", "a.png,m.png\nb.png", "image;label;mask\na.png;0"])
def test_a_row_that_ends_before_its_mask_is_not_taken_for_authentic(text, tmp_path):
    (tmp_path / "list.csv").write_text(text + "\n")
    with pytest.raises(ValueError, match=r"list\.csv, line [23]: ends before its mask"):
        csv_source(tmp_path / "list.csv")

"""`pimjax inspect`: what a photo's file tells of itself, on files that are made here, byte by byte where need be."""

import io
import json
import struct

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational

from pimjax.cli import main
from pimjax.data.headers import ImageError
from pimjax.data.registry import load_source
from pimjax.inference.file_facts import file_facts
from pimjax.inference.jpeg_facts import nearest_quality
from pimjax.jpeg.tables import LUMA_TABLE, scaled

CAT = load_source("installed:validation")[0]["image"][60:220, 120:301]


def jpeg(picture=CAT, **options):
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", **options)
    return stream.getvalue()


def found(encoded, topic, **options):
    return [fact.finding for fact in file_facts(encoded, "photo", **options) if fact.topic == topic]


@pytest.mark.parametrize("quality", [1, 30, 49, 50, 75, 90, 99, 100])
def test_the_standard_tables_give_their_quality(quality):
    assert found(jpeg(quality=quality), "compression")[0] == f"the standard's tables, quality {quality}"


def test_other_tables_are_called_their_own_with_the_nearest_quality():
    steps = scaled(LUMA_TABLE, 80)
    assert nearest_quality(steps, LUMA_TABLE) == (80, True)
    steps[5] += 1
    assert nearest_quality(steps, LUMA_TABLE) == (80, False)
    encoded = jpeg(qtables=[steps.tolist(), steps.tolist()])
    assert found(encoded, "compression")[0] == "tables of its own, about as strong as quality 80"
    # The standard's luma with another chroma is not the standard's.
    mixed = jpeg(qtables=[scaled(LUMA_TABLE, 80).tolist(), steps.tolist()])
    assert found(mixed, "compression")[0].startswith("tables of its own")


@pytest.mark.parametrize(("subsampling", "chroma"), [(0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")])
def test_chroma_and_scans(subsampling, chroma):
    assert found(jpeg(subsampling=subsampling), "compression")[1:] == [f"chroma {chroma}"]
    assert found(jpeg(subsampling=subsampling, progressive=True), "compression")[2] == "progressive"
    assert "gray, no chroma" in found(jpeg(CAT[..., 0]), "compression")


def exif(**changes):
    """A phone's entries, some days after the photo was taken."""
    entries = Image.Exif()
    entries.update({0x10F: "Maker", 0x110: "Phone 7", 0x131: "Editor 3.1", 0x132: "2024:05:03 10:00:00"})
    entries.get_ifd(0x8769)[0x9003] = "2024:05:01 09:30:00"
    entries.get_ifd(0x8825).update({1: "S", 2: (33.0, 51.0, 36.0), 3: "E", 4: (151.0, 12.0, 0.0)})
    entries.update(changes)
    return entries


def test_camera_program_dates_and_place():
    encoded = jpeg(exif=exif().tobytes())
    assert found(encoded, "camera") == ["Maker, Phone 7"]
    assert found(encoded, "software") == ["Editor 3.1"]
    assert found(encoded, "dates") == [
        "taken 2024-05-01 09:30:00",
        "changed 2024-05-03 10:00:00",
        "changed 2 days, 0:30:00 after it was taken",
    ]
    assert found(encoded, "place") == ["coordinates are in the file; --gps shows them"]
    assert found(encoded, "place", gps=True) == ["-33.86000, 151.20000"]
    assert found(jpeg(), "camera") == ["none named"]
    assert not found(jpeg(), "dates") + found(jpeg(), "place")


def test_dates_in_the_wrong_order_and_coordinates_that_are_none():
    entries = exif()
    entries[0x132] = "2024:04:01 10:00:00"
    entries.get_ifd(0x8825)[2] = (IFDRational(0, 0), 0.0, 0.0)
    encoded = jpeg(exif=entries.tobytes())
    assert found(encoded, "dates")[-1] == "changed before it was taken"
    assert found(encoded, "place", gps=True) == ["coordinates that are no numbers"]


def test_what_cannot_be_read_is_said_and_the_rest_is_shown(monkeypatch):
    monkeypatch.setattr("pimjax.inference.file_facts._dates", lambda exif: [][0])
    encoded = jpeg(exif=exif().tobytes())
    assert "part of what it says cannot be read" in found(encoded, "file")
    assert found(encoded, "camera") == ["Maker, Phone 7"] and found(encoded, "compression")


def with_thumbnail(photo, small):
    """A JPEG whose EXIF has two directories: an entry, and a thumbnail."""
    content = jpeg(small, quality=80)
    first = struct.pack("<H", 1) + struct.pack("<HHI4s", 0x128, 3, 1, b"\2\0\0\0")
    second_at = 8 + len(first) + 4
    entries = [(0x103, 3, 6), (0x201, 4, second_at + 2 + 3 * 12 + 4), (0x202, 4, len(content))]
    second = struct.pack("<H", 3) + b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    tiff = b"II*\0" + struct.pack("<I", 8) + first + struct.pack("<I", second_at) + second + bytes(4) + content
    return jpeg(photo, exif=b"Exif\0\0" + tiff)


def test_a_thumbnail_of_another_picture_is_told():
    small = cv2.resize(CAT, (90, 80), interpolation=cv2.INTER_AREA)
    same, other = (file_facts(with_thumbnail(CAT, picture), "photo") for picture in (small, small[:, ::-1]))
    same, other = (next(fact for fact in facts if fact.topic == "thumbnail") for facts in (same, other))
    assert same.finding.startswith("90×80 pixels") and "shows the same" in same.means
    assert "shows something else" in other.means
    assert not found(jpeg(), "thumbnail")


def test_a_photo_much_larger_than_its_thumbnail_is_compared_all_the_same():
    photo = cv2.resize(CAT, (900, 800), interpolation=cv2.INTER_CUBIC)
    small = cv2.resize(CAT, (90, 80), interpolation=cv2.INTER_AREA)
    for picture, means in ((small, "shows the same"), (small[::-1], "shows something else")):
        facts = file_facts(with_thumbnail(photo, picture), "photo")
        assert means in next(fact.means for fact in facts if fact.topic == "thumbnail")


def test_black_bars_beside_a_thumbnail_do_not_count():
    wide = CAT[30:130]
    inner = cv2.resize(wide, (160, 88), interpolation=cv2.INTER_AREA)
    small = np.zeros((120, 160, 3), np.uint8)
    small[16:104] = inner
    facts = file_facts(with_thumbnail(wide, small), "photo")
    assert "shows the same" in next(fact.means for fact in facts if fact.topic == "thumbnail")


def test_a_broken_thumbnail_is_none():
    encoded = with_thumbnail(CAT, cv2.resize(CAT, (90, 80)))
    at = encoded.index(b"\xff\xd8\xff", 10)
    broken = encoded[:at] + bytes(40) + encoded[at + 40 :]
    assert not found(broken, "thumbnail")


def test_what_lies_behind_the_picture_and_marks_of_networks():
    assert found(jpeg() + jpeg(), "leftovers") == [f"{len(jpeg()):,} bytes behind the picture, which begin like a JPEG"]
    assert found(jpeg() + b"\0" * 9, "leftovers") == []  # padding
    assert found(jpeg() + b"film", "leftovers") == ["4 bytes behind the picture, of another kind"]
    marked = jpeg(comment=b"FBMD0100")
    assert found(marked, "leftovers") == ["the mark FBMD"]


def test_xmp_s_history_is_listed_once_each():
    packet = (
        b'<x:xmpmeta><rdf:Description xmp:CreatorTool="Tool 1"/><stEvt:action>saved</stEvt:action>'
        b"<stEvt:action>cropped</stEvt:action><stEvt:action>saved</stEvt:action></x:xmpmeta>"
    )
    encoded = jpeg(xmp=packet)
    assert found(encoded, "software") == ["XMP's creator tool: Tool 1", "step in XMP's history: saved, cropped"]


def test_a_generator_s_settings_in_a_png():
    text, stream = PngImagePlugin.PngInfo(), io.BytesIO()
    text.add_text("parameters", "a cat\nSteps: 20\x07" + "x" * 500)
    Image.fromarray(CAT).save(stream, "PNG", pnginfo=text)
    (fact,) = [fact for fact in file_facts(stream.getvalue(), "photo") if fact.topic == "software"]
    assert fact.finding.startswith("PNG text parameters: a cat Steps: 20") and len(fact.finding) < 230
    assert "generators" in fact.means


def test_a_manifest_of_origin_is_named_and_not_believed():
    assert found(jpeg(comment=b"jumb....c2pa"), "origin") == ["a C2PA manifest"]
    assert not found(jpeg(comment=b"c2pa"), "origin")


@pytest.mark.parametrize("cut", [3, 30, 200, 700])
def test_damaged_files_are_one_error_or_facts_never_a_crash(cut):
    encoded = jpeg(exif=exif().tobytes())
    try:
        assert file_facts(encoded[:cut], "photo")
    except ImageError as error:
        assert str(error).startswith("photo: ")
    rng = np.random.default_rng(cut)
    for _ in range(40):
        noisy = bytearray(encoded)
        for at in rng.integers(2, 600, 5):
            noisy[at] = rng.integers(256)
        try:
            assert file_facts(bytes(noisy), "photo")
        except ImageError as error:
            assert str(error).startswith("photo: ")


def test_the_command_prints_lines_or_json_and_goes_on_after_a_broken_file(tmp_path, capsys):
    (tmp_path / "a.jpg").write_bytes(jpeg(exif=exif().tobytes()))
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    names = [str(tmp_path / name) for name in ("b.jpg", "a.jpg")]
    assert main(["inspect", *names]) == 1
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and "b.jpg" in printed.err
    assert "camera      Maker, Phone 7" in printed.out
    assert main(["inspect", "--json", "--gps", names[1]]) == 0
    facts = json.loads(capsys.readouterr().out)["facts"]
    assert {"topic": "camera", "finding": "Maker, Phone 7"}.items() <= facts[2].items()
    assert any("-33.86" in fact["finding"] for fact in facts)

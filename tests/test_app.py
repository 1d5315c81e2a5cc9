"""The local page: what it says of a file, what it shows, and whom it answers. (Driven in a browser by hand, too.)"""

import asyncio
import http.client
import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import gradio as gr
import numpy as np
import pytest

from pimjax.data.images import ImageError, write_png
from pimjax.inference import app, page_guard, page_results
from pimjax.inference.localizer import Localization
from pimjax.inference.page_guard import Guard
from pimjax.inference.page_work import SupersededError, Work
from pimjax.inference.score_reference import describe_score, reference_scores
from pimjax.weights.card import ModelCard

SCORES = {"authentic": [0.1, 0.2, 0.3, 0.9], "manipulated": [0.4, 0.8, 0.95, 0.99, 1.0], "datasets": "two sets"}
LOOKS = ("Heat map", 0.6, 0.5)  # view, opacity, threshold


class Red:
    """A localizer that takes red for manipulated."""

    hash, card = "0" * 64, ModelCard(provenance={"scores": SCORES})
    shapes = ((16, 16), (64, 64))

    def __init__(self):
        self.seen, self.go = [], threading.Event()
        self.go.set()

    def shape_of(self, photo):
        return self.shapes[1]

    def localize(self, photos, details=False, orientations=(), progress=None):
        self.seen.append(photos[0].shape)
        for tile in range(3):
            assert self.go.wait(10)
            if progress:
                progress(tile + 1, 3)
        red = photos[0][..., 0] / np.float32(255)
        return [Localization(photos[0], red, red, float(red.max()), 1 - red if details else None)]


@pytest.fixture
def photo(tmp_path):
    image = np.zeros((60, 80, 3), np.uint8)
    image[10:20, 30:70, 0] = 160
    image[40:50, 30:70, 0] = 240
    write_png(tmp_path / "shot.png", image)
    return str(tmp_path / "shot.png")


@pytest.fixture
def page():
    page = app.Page(Red())
    yield page
    page.close()


def visitor(name="v"):
    return SimpleNamespace(session_hash=name)


async def look(page, file, before=None, who=None):
    """Upload a file; what the page shows then, event by event: [state, picture, verdict, downloads]."""
    who = who or visitor()
    state, number, picture, verdict, downloads = page.begin(file, before, who)
    shown = [(state, picture, verdict, downloads)]
    async for found in page.analyze(file, number, *LOOKS, who):
        shown.append(found)
    return shown


def is_skip(value):
    return isinstance(value, dict) and value == gr.skip()


def test_a_photo_is_shown_with_its_score_and_files(page, photo):
    shown, picture, text, downloads = asyncio.run(look(page, photo))[-1]
    assert "Score 0.94**, 16.7% of the pixels above 0.50" in text
    assert "0% of 4 authentic photos and 60% of 5 manipulated" in text
    names = {"shot_probability.png", "shot_mask.png", "shot.json"}
    assert {path.name for path in shown.folder.iterdir() if not path.name.startswith(".")} == names
    assert {file["orig_name"] for file in downloads.value} == names
    views = {view: page_results.picture(shown, view, 0.6, 0.5) for view in page_results.VIEWS}
    assert (picture == views["Heat map"]).all()
    assert views["Photo"][15, 50, 0] == 160 and views["Probability"][15, 50].tolist() == [160] * 3
    assert views["Boundary"][15, 50].tolist() == [95] * 3
    assert page_results.picture(shown, "Heat map", 0.0, 1.0).tolist() == views["Photo"].tolist()
    # The threshold moves outline, text and files, all alike.
    assert (page.picture(shown, "Heat map", 0.6, 0.8, visitor()) != views["Heat map"]).any()
    assert "8.3% of the pixels above 0.80" in page.figures(shown, 0.8, visitor())[0]
    mask = cv2.imread(str(shown.folder / "shot_mask.png"), cv2.IMREAD_UNCHANGED)
    assert (mask == 255).mean() == pytest.approx(400 / 4800)
    figures = json.loads((shown.folder / "shot.json").read_text())
    assert figures["threshold"] == 0.8 and figures["area"] == pytest.approx(400 / 4800, abs=1e-6)
    assert [box["y"] for box in figures["boxes"]] == [40]
    # Nothing is left behind of it when the next photo comes.
    page.begin(None, shown, visitor())
    assert not shown.folder.exists()
    # Nor of the last one, when the page is gone.
    left = asyncio.run(look(page, photo))[-1][0].folder
    assert left.exists()
    page.close()
    assert not left.parent.exists()


@pytest.mark.parametrize("what", ["text", "bytes", "pixels", "empty", "HEIC"])
def test_a_bad_file_gets_one_clear_message(what, photo, page, tmp_path, monkeypatch):
    path = tmp_path / ("notes.HEIC" if what == "HEIC" else "notes.jpg")
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    path.write_bytes({"text": b"no photo", "empty": b"", "HEIC": heic}.get(what, Path(photo).read_bytes()))
    expected = {
        "text": "notes.jpg: damaged, or not an image",
        "bytes": "notes.jpg: larger than 0 MB; use pimjax predict",
        "pixels": "notes.jpg: 80×60 is more than 0 million pixels; use pimjax predict",
        "empty": "notes.jpg: empty; was it copied to its end?",
        "HEIC": "notes.HEIC: ",
    }[what]
    monkeypatch.setattr(page_results, "MOST_BYTES", 100 if what == "bytes" else 10**6)
    monkeypatch.setattr(page_results, "MOST_PIXELS", 100 if what == "pixels" else 10**6)
    shown, picture, message, _ = asyncio.run(look(page, str(path)))[-1]
    assert shown is None and picture is None
    assert message.startswith("**This file cannot be used.** " + page_results.plain(expected))
    assert str(tmp_path) not in message and "Error" not in message
    with pytest.raises(ImageError):
        page_results.read_upload(path)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: 9 GB"), ZeroDivisionError("x")])
def test_what_fails_while_computing_is_told(error, page, photo, monkeypatch, capsys):
    monkeypatch.setattr(page._localizer, "localize", lambda *_: (_ for _ in ()).throw(error))
    assert "could not be analyzed" in asyncio.run(look(page, photo))[-1][2]
    assert ("ZeroDivisionError" in capsys.readouterr().out) == isinstance(error, ZeroDivisionError)


def test_names_are_no_markup(page, photo, tmp_path):
    file = tmp_path / "![x](http:&#47;<b>_a_.png"
    file.write_bytes(Path(photo).read_bytes())
    shown = asyncio.run(look(page, str(file)))
    assert not set("![]<_") & set(shown[0][2].removeprefix("Looking at "))


def test_numbers_that_are_none_are_no_verdict(page, photo, monkeypatch):
    nothing = np.full((4, 4), np.nan, np.float32)
    monkeypatch.setattr(page._localizer, "localize", lambda *_: [Localization(nothing, nothing, nothing, float("nan"))])
    shown, picture, message, _ = asyncio.run(look(page, photo))[-1]
    assert shown is None and picture is None and "NaN" in message


def test_notes_on_a_file_are_shown_and_kept(photo, tmp_path):
    found = Red().localize([cv2.imread(photo)[..., ::-1]], True)[0]
    shown = page_results.keep(found, Red(), tmp_path, "shot.png", 1, ("its second half is missing",))
    assert "**Note:** its second half is missing" in page_results.figures(shown, 0.5)[0]
    assert json.loads((tmp_path / "shot.json").read_text())["notes"] == ["its second half is missing"]


# Nothing old beside a new name


def test_an_upload_clears_what_was_shown_before_anything_is_computed(page, photo):
    page._localizer.go.clear()
    old = page_results.Shown(*(None,) * 3, 0.5, "", "", Path("/nowhere"), "old.jpg", 1)
    state, _, picture, verdict, downloads = page.begin(photo, old, visitor())
    assert state is None and picture is None and downloads.value is None and not downloads.visible
    assert "shot" in verdict and "Score" not in verdict
    assert page.begin(None, old, visitor())[3] == ""


@pytest.mark.parametrize("newer", ["photo", "none", "bad"])
def test_an_old_analysis_that_ends_later_is_not_shown(newer, page, photo, tmp_path):
    other = {"photo": photo, "none": None, "bad": str(tmp_path / "bad.jpg")}[newer]
    (tmp_path / "bad.jpg").write_text("no photo")

    async def run():
        page._localizer.go.clear()
        _, number, *_ = page.begin(photo, None, visitor())
        old = page.analyze(photo, number, *LOOKS, visitor())
        assert "shot" in (await anext(old))[2]
        new = asyncio.create_task(look(page, other))
        await asyncio.sleep(0.1)
        page._localizer.go.set()
        seen = [found async for found in old]
        return seen, await new

    seen, new = asyncio.run(run())
    assert all(is_skip(value) for found in seen for value in found)
    expected = {"photo": "Score", "none": "", "bad": "cannot be used"}[newer]
    said = [found[2] for found in new if not is_skip(found[2])]
    assert expected in said[-1]
    assert len(page._localizer.seen) <= 1 + 2 * (newer == "photo")  # the old one is broken off


def test_sliders_do_not_bring_back_an_old_photo(page, photo):
    shown = asyncio.run(look(page, photo))[-1][0]
    page.work.begin("v")  # the next upload
    assert is_skip(page.picture(shown, *LOOKS, visitor()))
    assert all(map(is_skip, page.figures(shown, 0.5, visitor())))
    page_results.forget(shown)
    assert all(map(is_skip, page.figures(shown, 0.5, visitor())))  # whose files are gone already
    assert is_skip(page.picture(None, *LOOKS, visitor()))


def test_visitors_do_not_supersede_each_other(page, photo):
    first = asyncio.run(look(page, photo, who=visitor("a")))[-1][0]
    asyncio.run(look(page, photo, who=visitor("b")))
    assert not is_skip(page.picture(first, *LOOKS, visitor("a")))
    page.leave(visitor("a"))
    assert is_skip(page.picture(first, *LOOKS, visitor("a")))


# Compiling when it starts


def test_everything_is_compiled_before_anybody_comes(page, photo):
    lines = []
    page.work.warm_up(lines.append)
    assert [shape[:2] for shape in page._localizer.seen] == [(64, 64), (16, 16)] and not page.work.left
    assert lines[0].startswith("compiling for 2 sizes") and lines[1].startswith("ready: compiled in ")
    said = [found[2] for found in asyncio.run(look(page, photo))]
    assert not any("compiling" in str(text) for text in said)

    async def readiness():
        return [text async for text in page.readiness()]

    assert asyncio.run(readiness()) == [""]
    page.work.left.add((16, 16))
    assert "compiled for 1 of 2" in asyncio.run(anext(page.readiness()))


def test_the_page_says_what_it_is_doing(page, photo, monkeypatch):
    monkeypatch.setattr(app, "TICK", 0.02)

    async def run():
        page._localizer.go.clear()
        threading.Timer(0.3, page._localizer.go.set).start()
        return [str(found[2]) for found in await look(page, photo)]

    said = asyncio.run(run())
    assert said[0] == "Looking at shot&#46;png …" or said[0].startswith("Looking at shot")
    assert any("compiling for tiles of 64×64 pixels, once … 0 s" in text for text in said)
    work = Work(Red())
    job = work.localize(SimpleNamespace(pixels=np.zeros((8, 8, 3), np.uint8), orientation=1), lambda: True)
    job.result.result()
    assert job.doing[-3:] == ["tile 2 of 3", "tile 3 of 3", "tile 3 of 3"]
    unwanted = work.localize(SimpleNamespace(pixels=np.zeros((8, 8, 3), np.uint8), orientation=1), lambda: False)
    with pytest.raises(SupersededError):
        unwanted.result.result()
    work.close()


def test_a_shape_that_cannot_be_compiled_does_not_stop_the_others(page, monkeypatch):
    monkeypatch.setattr(page._localizer, "localize", lambda *_: (_ for _ in ()).throw(RuntimeError("no memory")))
    lines = []
    page.work.warm_up(lines.append)
    assert len(lines) == 4 and "no memory" in lines[1] and not page.work.left


# Whom it answers


@pytest.fixture(scope="module")
def served():
    blocks = app.serve(Red(), port=0, block=False, allowed=["photos.example.org"])
    yield blocks
    blocks.close(verbose=False)


def ask(page, path="/", method="GET", body=b"", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", page.server_port, timeout=20)
    headers = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_the_page_is_served_on_this_computer_alone(served):
    assert served.local_url.startswith("http://127.0.0.1:")
    status, content = ask(served)
    assert status == 200 and b"pimjax" in content
    assert not [line for line in content.split(b'"') if b"//fonts." in line or b"cdnjs" in line]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{}", 200),
        ("localhost:{}", 200),
        ("LOCALHOST", 200),
        ("[::1]:{}", 200),
        ("photos.example.org", 200),
        ("evil.example:{}", 403),
        ("127.0.0.1.evil.example:{}", 403),
        ("localhost.evil.example", 403),
        ("evil.example#127.0.0.1", 403),
        ("user@localhost", 403),
        ("192.168.0.7:{}", 403),
        ("", 403),
    ],
)
def test_hosts_that_it_was_not_started_for_get_403(served, host, status):
    host = host.format(served.server_port)
    assert ask(served, Host=host)[0] == status
    assert ask(served, "/gradio_api/upload", "POST", Host=host)[0] == (403 if status == 403 else 400)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://127.0.0.1:{}", True),
        ("https://photos.example.org", True),
        ("http://evil.example", False),
        ("http://127.0.0.1:1", False),  # another program's page
        ("http://localhost:{}", False),  # not the host that is asked
        ("null", False),
        ("http://127.0.0.1:{}.evil.example", False),
        ("http://127.0.0.1:{}@evil.example", False),
    ],
)
def test_requests_of_other_sites_get_403(served, origin, allowed):
    origin = origin and origin.format(served.server_port)
    for path in ("/gradio_api/upload", "/gradio_api/queue/join"):
        status, text = ask(served, path, "POST", Origin=origin)
        assert (status != 403) == allowed, text


def test_addresses_pass_where_the_page_is_for_all_networks_but_names_do_not():
    scope = {"type": "http", "method": "GET", "path": "/"}
    guard = Guard(None, "0.0.0.0")
    for host, passes in (("192.168.0.7:80", True), ("[fe80::1]", True), ("localhost", True), ("evil.example", False)):
        assert (guard._foreign(scope | {"headers": [(b"host", host.encode())]}) is None) == passes
    twice = [(b"host", b"localhost"), (b"host", b"evil.example")]
    assert guard._foreign(scope | {"headers": twice}) is not None
    assert Guard(None, "photos.lan")._foreign(scope | {"headers": [(b"host", b"photos.lan:7860")]}) is None


def test_a_place_that_is_taken_or_not_ours_is_named(served):
    for host, port in (("127.0.0.1", served.server_port), ("203.0.113.1", 7860)):
        with pytest.raises(OSError, match=rf"{host}, port {port}: no page can be there .*; give another --port"):
            app.serve(Red(), host, port, block=False)


# How much it takes


def multipart(name="a.jpg", content=b"x"):
    head = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    return {"body": head.encode() + content + b"\r\n--b--\r\n", "Content_Type": "multipart/form-data; boundary=b"}


def test_uploads_are_limited_in_number_and_size(served, monkeypatch):
    upload = ("/gradio_api/upload", "POST")
    assert ask(served, *upload, **multipart())[0] == 200
    monkeypatch.setattr(page_guard, "MOST_UPLOADS", 0)
    status, text = ask(served, *upload, **multipart())
    assert status == 429 and b"uploads in a minute; wait" in text
    monkeypatch.undo()
    for limit in ("MOST_KEPT", "MOST_KEPT_BYTES"):
        monkeypatch.setattr(page_guard, limit, 1)
        status, text = ask(served, *upload, **multipart())
        assert status == 429 and b"too many uploads are kept" in text
        monkeypatch.undo()
    monkeypatch.setattr(page_guard, "_LARGEST_UPLOAD", 1000)
    assert ask(served, *upload, **multipart(content=b"x" * 2000))[0] == 413
    monkeypatch.setattr(page_guard, "_LARGEST_OTHER", 1000)
    assert ask(served, "/gradio_api/queue/join", "POST", b"{" + b" " * 2000)[0] == 413
    assert ask(served)[0] == 200


def test_a_body_of_unknown_length_is_counted_as_it_comes():
    sent = []
    messages = iter([{"type": "http.request", "body": b"x" * (1 << 20), "more_body": True}] * 2)

    async def application(scope, receive, send):
        while True:
            await receive()

    async def run():
        async def receive():
            return next(messages)

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/x", "headers": [(b"host", b"localhost")]}
        await Guard(application, "127.0.0.1")(scope, receive, send)

    asyncio.run(run())
    assert sent[0]["status"] == 413 and b"larger than" in sent[1]["body"]


def test_what_was_uploaded_long_ago_no_longer_counts(monkeypatch):
    guard, now = Guard(None, "127.0.0.1"), time.monotonic()
    for _ in range(page_guard.MOST_UPLOADS):
        assert guard._too_many() is None
    assert guard._too_many()[0] == 429
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert guard._too_many() is None
    monkeypatch.setattr(time, "monotonic", lambda: now + 3600 + 600 + 62)
    guard._too_many()
    assert len(guard._uploads) == 1


def test_scores_that_nobody_measured_mean_nothing():
    assert "not been measured" in describe_score(0.5, ModelCard())


def test_scores_come_from_an_evaluation_of_the_same_model(tmp_path):
    for name, rows in (("forged", [(True, 0.9), (True, 0.4)]), ("real", [(False, 0.3)])):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "about.json").write_text(json.dumps({"sha256": "abc"}))
        lines = [{"number": i, "manipulated": m, "image.max": s} for i, (m, s) in enumerate(rows)]
        (folder / "images.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    scores = reference_scores(tmp_path, "abc")
    assert scores == {"authentic": [0.3], "manipulated": [0.4, 0.9], "datasets": "forged, real"}
    assert "0% of 1 authentic photos and 50% of 2 manipulated" in describe_score(
        0.5, ModelCard(provenance={"scores": scores})
    )
    with pytest.raises(ValueError, match="not scores of this model"):
        reference_scores(tmp_path, "other")
    (tmp_path / "real/images.jsonl").unlink()
    with pytest.raises(ValueError, match="no authentic images"):
        reference_scores(tmp_path, "abc")


def test_examples_hold_what_their_names_say(tmp_path):
    files = [Path(file) for file in app.example_photos(tmp_path)]
    assert [file.stem for file in files] == ["splicing", "copy_move", "removal", "authentic"]
    assert all(cv2.imread(str(file)).shape[2] == 3 for file in files)

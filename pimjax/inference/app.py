"""A local page on which to drop a photo: its heat map, what the score means, and the maps to download."""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import gradio as gr
import numpy as np

from pimjax.data.images import DecodedPhoto, ImageError, decode_photo, read_bytes, read_header, write_png
from pimjax.inference.examples import example_photos
from pimjax.inference.localizer import Localizer
from pimjax.inference.meaning import meaning_of_score
from pimjax.inference.outputs import grey, measure
from pimjax.pictures import overlay

MOST_BYTES, MOST_PIXELS = 64 << 20, 64_000_000  # of a photo
SHOWN = 1600  # pixels of the longer side on the page; downloads are of the photo's size
BUTTONS = ["fullscreen", "download"]
VIEWS = ("Heat map", "Probability", "Boundary", "Photo")

_INTRODUCTION = """# pimjax
Which pixels of this photograph were pasted, copied or painted over? Drop a photo; it stays on this computer."""
_LIMITS = """The map shows where the traces of camera and compression break off, which an honest edit may do as well
(a sharpened face, a caption). Little is left of them in pictures that were photographed from a screen, strongly
compressed or scaled down, as messengers and social media do, and a picture that is generated as a whole has no such
break."""


class Shown(NamedTuple):
    """One photo's results, kept between clicks of a visitor."""

    photo: np.ndarray  # uint8 RGB [h, w, 3], at most SHOWN pixels a side
    probability: np.ndarray  # float32 [h, w]
    boundary: np.ndarray | None
    score: float
    meaning: str
    model_sha256: str
    folder: Path  # of what is to be downloaded
    name: str  # of the photo's file


def build_page(localizer: Localizer) -> gr.Blocks:
    """The page, to be launched. Nothing is sent anywhere; uploads are deleted after an hour."""
    root = tempfile.TemporaryDirectory(prefix="pimjax-")  # goes with the page, and all that visitors left
    with gr.Blocks(title="pimjax", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown(_INTRODUCTION)
        state = gr.State(None, time_to_live=3600, delete_callback=_forget)
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                # A plain file, not gradio's image: what is no photo shall get our message, not a decoder's.
                upload = gr.File(label="Photo: JPEG, PNG, TIFF, BMP or WebP", file_types=["image"], elem_id="upload")
                view = gr.Radio(VIEWS, value=VIEWS[0], label="Show")
                opacity = gr.Slider(0, 1, 0.6, step=0.05, label="Opacity of the heat map")
                threshold = gr.Slider(0.05, 0.95, 0.5, step=0.05, label="Threshold of the outline")
                gr.Examples(example_photos(Path(root.name)), inputs=upload, label="Examples", cache_examples=False)
            with gr.Column(scale=2):
                picture = gr.Image(
                    label="Result", type="numpy", format="png", interactive=False, elem_id="result", buttons=BUTTONS
                )
                verdict = gr.Markdown(elem_id="verdict")
                downloads = gr.Files(label="Download", interactive=False, visible=False)
                gr.Markdown(_LIMITS)
        looks, says = [state, view, opacity, threshold], [state, threshold]
        analysed = upload.change(_analyse(localizer, root), [upload, state], [state, verdict])
        analysed.then(_picture, looks, picture, show_progress="hidden")
        analysed.then(_figures, says, [verdict, downloads], show_progress="hidden")
        for control in (view, opacity, threshold):
            control.change(_picture, looks, picture, show_progress="hidden")
        # Of the places that a moving slider passes, Gradio takes the last alone: files of the photo's size are written.
        threshold.change(_figures, says, [verdict, downloads], show_progress="hidden")
    return page


def _analyse(localizer: Localizer, root: tempfile.TemporaryDirectory) -> Callable[..., tuple[Shown | None, str]]:
    def analyse(file: str | None, before: Shown | None) -> tuple[Shown | None, str]:
        _forget(before)
        if file is None:
            return None, ""
        try:
            photo = read_upload(Path(file))
        except ImageError as error:
            return None, f"**This file cannot be used.** {error}"
        result = localizer.localize([photo.pixels], details=True, orientations=[photo.orientation])[0]
        folder = Path(tempfile.mkdtemp(dir=root.name))
        write_png(folder / f"{Path(file).stem}_probability.png", grey(result.probability, 16))
        small = [_fit(map_) for map_ in (result.photo, result.probability, result.boundary)]
        meaning = meaning_of_score(result.score, localizer.card)
        return Shown(*small, result.score, meaning, localizer.hash, folder, Path(file).name), ""

    return analyse


def _forget(shown: Shown | None) -> None:
    """Deletes what was written for a visitor who has left, or looks at another photo."""
    if shown is not None:
        shutil.rmtree(shown.folder, ignore_errors=True)


def read_upload(path: Path) -> DecodedPhoto:
    """Return the photo as stored; raise an ImageError that names it by its name alone if it cannot be used."""
    if path.stat().st_size > MOST_BYTES:
        raise ImageError(f"{path.name}: larger than {MOST_BYTES >> 20} MB; use pimjax predict")
    encoded = read_bytes(path)
    header = read_header(encoded, path.name)
    if header.width * header.height > MOST_PIXELS:
        raise ImageError(
            f"{path.name}: {header.width}×{header.height} is more than {MOST_PIXELS // 10**6} million pixels; "
            "use pimjax predict"
        )
    return decode_photo(encoded, path.name)


def _fit(map_: np.ndarray | None) -> np.ndarray | None:
    scale = 1.0 if map_ is None else SHOWN / max(map_.shape[:2])
    return map_ if scale >= 1 else cv2.resize(map_, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _picture(shown: Shown | None, view: str, opacity: float, threshold: float) -> np.ndarray | None:
    if shown is None:
        return None
    if view == "Heat map":
        return overlay(shown.photo, shown.probability, threshold, opacity)
    map_ = {"Probability": shown.probability, "Boundary": shown.boundary}.get(view)
    return shown.photo if map_ is None else cv2.cvtColor(grey(map_), cv2.COLOR_GRAY2RGB)


def _figures(shown: Shown | None, threshold: float) -> tuple[Any, Any]:
    """What is said of the photo at a threshold, and the files to download."""
    if shown is None:
        return gr.skip(), gr.Files(visible=False)
    where = shown.folder / Path(shown.name).stem
    files = [where.with_name(where.name + end) for end in ("_probability.png", "_mask.png", ".json")]
    probability = cv2.imread(str(files[0]), cv2.IMREAD_UNCHANGED) / np.float32(65535)
    write_png(files[1], (probability > threshold).view(np.uint8) * np.uint8(255))
    figures = {"photo": shown.name, **measure(probability, shown.score, threshold), "threshold": threshold}
    figures |= {"meaning": shown.meaning, "model_sha256": shown.model_sha256}
    files[2].write_text(json.dumps(figures, indent=1), encoding="utf-8")
    text = f"**Score {shown.score:.2f}**, {figures['area']:.1%} of the pixels above {threshold:.2f}.\n\n{shown.meaning}"
    return text, gr.Files(value=[str(file) for file in files], visible=True)


def serve(localizer: Localizer, host: str = "127.0.0.1", port: int = 7860, block: bool = True) -> gr.Blocks:
    """Serves the page until Ctrl-C (or returns at once, unless `block`). OSError if the port is taken."""
    page = build_page(localizer)
    page.queue(default_concurrency_limit=1)  # one photo at a time: they share the device
    page.launch(
        server_name=host,
        server_port=port or None,  # 0: the first that is free
        max_file_size=2 * MOST_BYTES,  # beyond it the message is gradio's
        share=False,
        footer_links=[],
        quiet=True,
        prevent_thread_lock=True,
    )
    print(page.local_url, flush=True)
    if block:
        page.block_thread()
        page.close()  # or what was uploaded stays while a browser is still connected
    return page

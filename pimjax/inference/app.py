"""A local page on which to drop a photo: its heat map, what the score means, and the maps to download."""

import asyncio
import os
import socket
import tempfile
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from pimjax.data.images import ImageError
from pimjax.inference import page_results
from pimjax.inference.compared import takes_files
from pimjax.inference.examples import example_photos
from pimjax.inference.localizer import Localizer
from pimjax.inference.page_guard import KEPT_SECONDS, MOST_BYTES, MOST_WAITING, SWEEP_SECONDS, Guard
from pimjax.inference.page_results import VIEWS, Shown, forget, plain
from pimjax.inference.page_work import SupersededError, Work
from pimjax.shutdown import explain
from pimjax.terminal import say

BUTTONS: Any = ["fullscreen", "download"]
TICK = 0.3  # seconds between two looks at what the device does

_INTRODUCTION = """# pimjax
Which pixels of this photograph were pasted, copied or painted over? Drop a photo; it stays on this computer."""
_LIMITS = """The map shows where the traces of camera and compression break off, which an honest edit may do as well
(a sharpened face, a caption). Little is left of them in pictures that were photographed from a screen, strongly
compressed or scaled down, as messengers and social media do, and a picture that is generated as a whole has no such
break."""


def _visitor(request: gr.Request) -> str:
    return request.session_hash or ""


class Page:
    """The page's events. A visitor is shown results of the last photo that they gave, or none.

    Every event that shows something of a photo asks, when it is done, whether that photo is still the visitor's last.
    """

    def __init__(self, localizer: Localizer):
        self._localizer = localizer
        self.work = Work(localizer)
        self.root = tempfile.TemporaryDirectory(prefix="pimjax-")  # goes with the page, and all that visitors left

    def begin(self, file: str | None, before: Shown | None, request: gr.Request) -> tuple[Any, ...]:
        """Clear what is shown, at once: [state, number, picture, verdict, downloads]."""
        forget(before)
        number = self.work.begin(_visitor(request))
        doing = "" if file is None else f"Looking at {plain(Path(file).name)} …"
        return None, number, None, doing, gr.Files(value=None, visible=False)

    async def analyze(
        self, file: str | None, number: int, view: str, opacity: float, threshold: float, request: gr.Request
    ) -> AsyncIterator[tuple[Any, ...]]:
        """Say what is being done, then show what was found: [state, picture, verdict, downloads]."""

        def is_wanted() -> bool:
            return self.work.is_newest(_visitor(request), number)

        if file is None or not is_wanted():
            yield (gr.skip(),) * 4
            return
        path, began = Path(file), time.monotonic()
        try:
            photo = await asyncio.to_thread(page_results.read_upload, path)
            encoded = await asyncio.to_thread(path.read_bytes) if takes_files(self._localizer) else b""
            job = self.work.localize(photo, is_wanted, encoded)
            while not job.result.done():
                doing = f"Looking at {plain(path.name)}: {job.doing[-1]} … {time.monotonic() - began:.0f} s"
                yield gr.skip(), gr.skip(), doing if is_wanted() else gr.skip(), gr.skip()
                await asyncio.sleep(TICK)
            shown = await asyncio.to_thread(self._keep, job.result.result(), path.name, number, photo.notes)
            found = await asyncio.to_thread(self._show, shown, view, opacity, threshold)
        except SupersededError:
            yield (gr.skip(),) * 4
            return
        except Exception as error:
            found = None, None, _complaint(path.name, error), gr.skip()
        if is_wanted():
            yield found
        else:
            forget(found[0])
            yield (gr.skip(),) * 4

    def _keep(self, found: Any, name: str, number: int, notes: tuple[str, ...]) -> Shown:
        folder = Path(tempfile.mkdtemp(dir=self.root.name))
        return page_results.keep(found, self._localizer, folder, name, number, notes)

    def _show(self, shown: Shown, view: str, opacity: float, threshold: float) -> tuple[Any, ...]:
        text, files = page_results.figures(shown, threshold)
        return shown, page_results.picture(shown, view, opacity, threshold), text, gr.Files(value=files, visible=True)

    def picture(self, shown: Shown | None, view: str, opacity: float, threshold: float, request: gr.Request) -> Any:
        """Draw the picture anew."""
        return self._of_newest(shown, request, lambda shown: page_results.picture(shown, view, opacity, threshold), 1)

    def figures(self, shown: Shown | None, threshold: float, request: gr.Request) -> tuple[Any, Any]:
        """Say and write anew what depends on the threshold."""

        def say_and_write(shown: Shown) -> tuple[Any, Any]:
            text, files = page_results.figures(shown, threshold)
            return text, gr.Files(value=files, visible=True)

        return self._of_newest(shown, request, say_and_write, 2)

    def _of_newest(self, shown: Shown | None, request: gr.Request, make: Callable[[Shown], Any], outputs: int) -> Any:
        skipped = (gr.skip(),) * outputs if outputs > 1 else gr.skip()
        if shown is None:
            return skipped
        try:
            made = make(shown)
        except OSError:  # its folder went meanwhile
            return skipped
        return made if self.work.is_newest(_visitor(request), shown.number) else skipped

    async def readiness(self) -> AsyncIterator[str]:
        """Say that the page gets ready, until it is."""
        while self.work.left:
            done = len(self._localizer.shapes) - len(self.work.left)
            yield f"*Getting ready: compiled for {done} of {len(self._localizer.shapes)} sizes of tiles.*"
            await asyncio.sleep(1)
        yield ""

    def leave(self, request: gr.Request) -> None:
        """Drop the work of a visitor who has closed the page."""
        self.work.forget(_visitor(request))

    def close(self) -> None:
        """End the work, and delete what visitors left."""
        self.work.close()
        self.root.cleanup()


def _complaint(name: str, error: Exception) -> str:
    """Return why a photo has no result, as Markdown; what is a fault of the program is also told on the terminal."""
    if isinstance(error, ImageError):
        return f"**This file cannot be used.** {plain(str(error))}"
    if lines := explain(error):
        return f"**{plain(name)} could not be analyzed.** {plain(lines[0])}"
    say(f"while looking at {name}:", *"".join(traceback.format_exception(error)).rstrip().split("\n"))
    return f"**{plain(name)} could not be analyzed**, by a fault of the program: {plain(repr(error))}"


def build_page(page: Page) -> gr.Blocks:
    """Return the page, to be launched. Nothing is sent anywhere; uploads are deleted after an hour."""
    with gr.Blocks(title="pimjax", analytics_enabled=False, delete_cache=(SWEEP_SECONDS, KEPT_SECONDS)) as blocks:
        gr.Markdown(_INTRODUCTION)
        readiness = gr.Markdown(elem_id="readiness")
        state = gr.State(None, time_to_live=KEPT_SECONDS, delete_callback=forget)
        number = gr.State(0, time_to_live=KEPT_SECONDS)
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                # A plain file, of any type: what is no photo shall get our message, not a decoder's or a browser's.
                upload = gr.File(label="Photo: JPEG, PNG, TIFF, BMP or WebP", elem_id="upload")
                view = gr.Radio(VIEWS, value=VIEWS[0], label="Show")
                opacity = gr.Slider(0, 1, 0.6, step=0.05, label="Opacity of the heat map")
                threshold = gr.Slider(0.05, 0.95, 0.5, step=0.05, label="Threshold of the outline")
                examples = example_photos(Path(page.root.name))
                gr.Examples(examples, inputs=upload, label="Examples", cache_examples=False)
            with gr.Column(scale=2):
                picture = gr.Image(
                    label="Result", type="numpy", format="png", interactive=False, elem_id="result", buttons=BUTTONS
                )
                verdict = gr.Markdown(elem_id="verdict")
                downloads = gr.Files(label="Download", interactive=False, visible=False)
                gr.Markdown(_LIMITS)
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        # Neither waits for what was begun before: "multiple", no limit. The device's queue is `Work`'s.
        free = quiet | {"trigger_mode": "multiple", "concurrency_limit": None}
        cleared = [state, number, picture, verdict, downloads]
        upload.change(page.begin, [upload, state], cleared, queue=False, **free).then(
            page.analyze, [upload, number, view, opacity, threshold], [state, picture, verdict, downloads], **free
        )
        for control in (view, opacity, threshold):
            control.change(page.picture, [state, view, opacity, threshold], picture, **quiet)
        # Of the places that a moving slider passes, Gradio takes the last alone: files of the photo's size are written.
        threshold.change(page.figures, [state, threshold], [verdict, downloads], **quiet)
        blocks.load(page.readiness, None, readiness, concurrency_limit=None, **quiet)
        blocks.unload(page.leave)
    return blocks


def serve(
    localizer: Localizer,
    host: str = "127.0.0.1",
    port: int = 7860,
    block: bool = True,
    allowed: Collection[str] = (),
) -> gr.Blocks:
    """Serve the page until Ctrl-C (or return at once, unless `block`).

    Args:
        localizer: the model.
        host: the address that the page is bound to.
        port: 0 is the first that is free.
        block: whether to stay until KeyboardInterrupt, which is raised again when all is deleted.
        allowed: further names of hosts that requests may name, such as a proxy's.

    Raises:
        OSError: the port is taken, or the host is not this computer's.
    """
    _require_free(host, port)
    page = Page(localizer)
    blocks = build_page(page)
    # Beyond the photos that wait for the device, which are `Work`'s, all events of the page are quick.
    blocks.queue(max_size=MOST_WAITING)
    try:
        blocks.launch(
            server_name=host,
            server_port=port or None,
            max_file_size=2 * MOST_BYTES,  # beyond it the message is gradio's
            share=False,
            footer_links=[],
            quiet=True,
            prevent_thread_lock=True,
            ssr_mode=False,
            enable_monitoring=False,
            app_kwargs={"middleware": [Middleware(Guard, host=host, allowed=tuple(allowed))]},
        )
        say(str(blocks.local_url))
        threading.Thread(target=page.work.warm_up, args=(say,), daemon=True).start()
        while block:
            time.sleep(1)
    finally:
        if block:
            page.close()
            blocks.close(verbose=False)  # or what was uploaded stays while a browser is still connected
    return blocks


def _require_free(host: str, port: int) -> None:
    """Raise OSError, naming both, if a page cannot be bound there; Gradio's own error speaks of its variables."""
    try:
        (family, kind, _, _, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with socket.socket(family, kind) as probe:
            if os.name != "nt":  # there it would allow what is taken
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        why = error.strerror or error
        raise OSError(f"{host}, port {port}: no page can be there ({why}); give another --port or --host") from None

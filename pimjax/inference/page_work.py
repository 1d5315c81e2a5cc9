"""The page's work: one photo at a time on the device, of each visitor the newest alone; compiling before they come."""

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from pimjax.data.images import DecodedPhoto
from pimjax.inference.localizer import Localization, Localizer


class SupersededError(Exception):
    """The visitor has given another photo meanwhile."""


class Job(NamedTuple):
    """A photo that was given to the device."""

    result: Future[Localization]
    doing: list[str]  # what is done with it; the last counts


class Work:
    """The device's queue of visitors' photos, and the compilation for all sizes of tiles beside it."""

    def __init__(self, localizer: Localizer):
        self._localizer = localizer
        self._device = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._newest: dict[str, int] = {}  # visitor → number of the last photo
        self._numbers = itertools.count(1)
        # Held by who compiles for a shape, that nobody does it at the same time.
        self._compiling = {shape: threading.Lock() for shape in localizer.shapes}
        self.left = set(localizer.shapes)  # to be compiled
        self._idle = threading.Event()
        self._idle.set()
        self._closed = False

    def begin(self, visitor: str) -> int:
        """Return a number for a visitor's new photo; what was begun for those before is no longer wanted."""
        self._newest[visitor] = number = next(self._numbers)
        return number

    def is_newest(self, visitor: str, number: int) -> bool:
        """Return whether no newer photo was given since `begin`."""
        return self._newest.get(visitor) == number

    def forget(self, visitor: str) -> None:
        """Drop what is begun for a visitor who has left."""
        self._newest.pop(visitor, None)

    def localize(self, photo: DecodedPhoto, wanted: Callable[[], bool], file: bytes = b"") -> Job:
        """Give a photo to the device; its result raises SupersededError once `wanted` says no.

        `file` is the photo as it was encoded, for a model that reads that too.
        """
        doing = ["waiting for the photos before"]
        return Job(self._device.submit(self._localize, photo, wanted, doing, file), doing)

    def _localize(self, photo: DecodedPhoto, wanted: Callable[[], bool], doing: list[str], file: bytes) -> Localization:
        def require_wanted() -> None:
            if not wanted():
                raise SupersededError

        def progress(done: int, total: int) -> None:
            doing.append(f"tile {min(done + 1, total)} of {total}")
            require_wanted()

        require_wanted()
        shape = self._localizer.shape_of(photo.pixels)
        self._idle.clear()
        try:
            if shape in self.left:
                doing.append(f"compiling for tiles of {shape[1]}×{shape[0]} pixels, once")
                self._compile(shape)
            doing.append("computing")
            require_wanted()
            further: dict[str, Any] = {"files": [file]} if file else {}
            return self._localizer.localize([photo.pixels], True, [photo.orientation], progress, **further)[0]
        finally:
            self._idle.set()

    def warm_up(self, tell: Callable[[str], None]) -> None:
        """Compile for all shapes, none while a photo is computed; `tell` is given lines for the terminal."""
        began = time.monotonic()
        tell(f"compiling for {len(self.left)} sizes of tiles; the page answers meanwhile")
        # First for the photos of cameras, whose tiles are the largest.
        for shape in sorted(self.left, key=lambda shape: -shape[0] * shape[1]):
            self._idle.wait()
            if self._closed:
                return
            try:
                self._compile(shape)
            except Exception as error:  # whatever a device has to say; a photo of that size will say it again
                self.left.discard(shape)
                tell(f"compiling for tiles of {shape[1]}×{shape[0]} pixels failed: {error}")
        tell(f"ready: compiled in {time.monotonic() - began:.0f} s")

    def _compile(self, shape: tuple[int, int]) -> None:
        with self._compiling[shape]:
            if shape in self.left and not self._closed:
                self._localizer.localize([np.zeros((*shape, 3), np.uint8)], True)
                self.left.discard(shape)

    def close(self) -> None:
        """End without waiting for what is being computed."""
        self._closed = True
        self._newest.clear()
        self._device.shutdown(wait=False, cancel_futures=True)

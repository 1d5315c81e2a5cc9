"""How a command ends: Ctrl-C, a reader that has gone and what the user can mend are one line, not a traceback."""

import contextlib
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from typing import NoReturn

INTERRUPTED, READER_GONE = 130, 141  # exit statuses, as shells give them for SIGINT and SIGPIPE
GRACE = 2.0  # seconds that a command has to end in order after Ctrl-C
RESUMES = "interrupted; the same command resumes"


class Shutdown:
    """Catch Ctrl-C while a command runs; `message` is what is said then.

    Python hears of a signal between two of its own instructions, not within a compilation that lasts minutes; and
    KeyboardInterrupt is at times swallowed by who it happens to meet. So a thread ends the process if the command,
    having been asked to, has not done so within `GRACE`. Whoever takes SIGINT over, as training does, is left alone.
    """

    message = "interrupted"
    received = False

    def __init__(self) -> None:
        self._said = False
        # Only the main thread may ask for signals; and who starts us in the background may want them ignored.
        self._active = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )

    def __enter__(self) -> "Shutdown":
        if self._active:
            self._wakened, self._waking = os.pipe()
            if os.name != "nt":  # Windows has no such pipes, and does not ask for them
                os.set_blocking(self._waking, False)
            self._fd_before = signal.set_wakeup_fd(self._waking, warn_on_full_buffer=False)
            signal.signal(signal.SIGINT, self.note)
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._active and not self.received:  # else the watch lasts until the process has ended
            signal.set_wakeup_fd(self._fd_before)
            os.close(self._waking)
            if signal.getsignal(signal.SIGINT) == self.note:
                signal.signal(signal.SIGINT, signal.default_int_handler)

    def note(self, number: int, frame: types.FrameType | None) -> None:
        """Raise KeyboardInterrupt, as the handler of a signal; the next one ends the process at once."""
        self.received = True
        signal.signal(number, self._at_once)
        sys.unraisablehook = threading.excepthook = lambda *_: None  # what it meets need not be told
        # An import is not made to be broken off: libraries swallow it, take it for another error, or abort.
        while frame is not None:
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                self._at_once()
            frame = frame.f_back
        raise KeyboardInterrupt

    def say(self, message: str = "") -> None:
        """Say once why the command ends."""
        if not self._said:
            self._said = True
            # Not by way of sys.stderr, nor tqdm: the thread that we do not wait for may hold their locks.
            with contextlib.suppress(OSError):
                os.write(2, f"{message or self.message}\n".encode("ascii", "backslashreplace"))

    def _at_once(self, *_: object) -> NoReturn:
        self.say()
        exit_now(INTERRUPTED)

    def _watch(self) -> None:
        while number := os.read(self._wakened, 1):  # nothing, when the other end is closed: the command is done
            if self._takes(number[0]):
                time.sleep(GRACE)
                self._at_once()
        os.close(self._wakened)

    def _takes(self, number: int) -> bool:
        return signal.getsignal(number) in (self.note, self._at_once)


def run_guarded(command: Callable[[Shutdown], int | None]) -> int:
    """Run a command and return its exit status; what ends it from outside, or the user can mend, is said in one line.

    Raises:
        SystemExit: the command did, with a number.
        Exception: of a kind that is a fault of the program.
    """
    with Shutdown() as shutdown:
        try:
            # Imported here, for Ctrl-C may come while they are.
            from pimjax.terminal import accept_any_text

            accept_any_text()
            # What is left behind by `exit_now`, multiprocessing's own process tidies up; it need not complain.
            sys.warnoptions.append("ignore:resource_tracker")
            status = command(shutdown) or 0
            sys.stdout.flush()
            if not shutdown.received:
                return status
            status, lines = INTERRUPTED, [""]  # somebody swallowed it
        except BaseException as error:
            interrupt = isinstance(error, KeyboardInterrupt)
            status = INTERRUPTED if shutdown.received or interrupt else _status(error)
            lines = [str(error) if interrupt else ""] if status == INTERRUPTED else explain(error)
            if not lines:
                raise
        # After the block the error is gone, and what it held, such as a progress bar, has ended its line.
        if status == INTERRUPTED:
            shutdown.say(*lines)
        elif status != READER_GONE:
            from pimjax.terminal import warn

            with contextlib.suppress(OSError):
                warn(*lines)
        _mute_closed()
        if shutdown.received:
            exit_now(status)  # not in order: jax crashes at Python's end if Ctrl-C met it, and threads may still work
        return status


def _status(error: BaseException) -> int:
    return READER_GONE if isinstance(error, BrokenPipeError) else getattr(error, "exit_status", 1)


def explain(error: BaseException) -> list[str]:
    """Return what the user is told of an error: a line and its notes; [] if it is a fault of the program."""
    # Lists follow a message in lines of their own, indented; any other newline is part of a name, and is escaped.
    line, *listed = (_line(error) or "").split("\n  ")
    notes = "\n".join(getattr(error, "__notes__", ())).splitlines()
    return [line, *(f"  {item}" for item in listed), *notes] if line else []


def _line(error: BaseException) -> str | None:
    said = " ".join(str(error).splitlines()[:1])
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, str) else None
    if isinstance(error, (ValueError, OSError)):
        return f"error: {error}"
    if isinstance(error, MemoryError) or said.startswith("RESOURCE_EXHAUSTED"):  # of this machine; of a device, by jax
        return f"error: out of memory ({said or 'no more is to be had'}); end other programs, or ask for less at once"
    if isinstance(error, RecursionError):
        return f"error: {said}: something given is nested too deeply; give it in another form"
    if isinstance(error, ImportError) and _of_opencv(error):
        return f"error: OpenCV cannot be loaded ({said}); apt-get install libgl1 libglib2.0-0, or {_HEADLESS}"
    return None


_HEADLESS = "pip uninstall opencv-python && pip install opencv-python-headless"


def _of_opencv(error: ImportError) -> bool:
    trace, modules = error.__traceback__, {error.name}
    while trace is not None:
        modules.add(trace.tb_frame.f_globals.get("__name__"))
        trace = trace.tb_next
    return "cv2" in modules


def _mute_closed() -> None:
    """Send what can no longer be printed nowhere: Python, at its end, complains of what it cannot write."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextlib.contextmanager
def ignore_interrupts() -> Iterator[None]:
    """Let the processes started in the block never hear of Ctrl-C, which a terminal sends to all: we end them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # or it is started within, and then unblocks SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # what is started inherits it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)  # if it came meanwhile, it is heard here


def exit_now(status: int) -> NoReturn:
    """End this process and those that it started at once, whatever its threads are doing or waiting for."""
    if "multiprocessing" in sys.modules:
        for child in sys.modules["multiprocessing"].active_children():
            child.kill()
    os._exit(status)

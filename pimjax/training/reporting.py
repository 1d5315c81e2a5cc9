"""What a run shows while it trains: progress bar, log, throughput, bad steps, images that could not be read."""

import json
import math
import time
from typing import NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from pimjax.terminal import bar_interval, say
from pimjax.training.distributed import gather_strings, is_lead_host, print_once
from pimjax.training.metric_writer import MetricWriter
from pimjax.training.optimizer import make_schedule
from pimjax.training.setup import TrainContext
from pimjax.training.validation import Predictions, sheet

MOST_SKIPPED = 20  # bad steps in a row after which skipping is no help


class PendingStep(NamedTuple):
    """Hold a step that was given to the devices, to be read when it is done."""

    step: int
    metrics: dict[str, jax.Array]
    ids: list[str]  # of this process's images


class StepReporter:
    """Read finished steps on the host: progress bar, log, profile, bad steps. Only the first process writes."""

    def __init__(self, context: TrainContext, start: int):
        config = context.config
        self._context, self._skipped, self._tracing = context, 0, False
        self._schedule = make_schedule(config.optimizer, config.train.num_steps)
        self._log = MetricWriter(config, start + 1) if is_lead_host() else None
        self._bar = tqdm(
            total=config.train.num_steps,
            initial=start,
            unit="step",
            dynamic_ncols=True,
            disable=not is_lead_host(),
            mininterval=bar_interval(),
        )
        self.throughput = Throughput(config.data.batch_size)

    def close(self) -> None:
        """Finish bar and log."""
        self._stop_profile()
        self._bar.close()
        if self._log:
            self._log.close()

    def profile(self, step: int) -> None:
        """Start the trace that `config.profile.steps` asks for, if `step` is its first."""
        steps = self._context.config.profile.steps
        if is_lead_host() and steps and step == steps[0]:
            jax.profiler.start_trace(str(self._context.workdir / "profile"))
            self._tracing = True

    def _stop_profile(self) -> None:
        if self._tracing:
            jax.profiler.stop_trace()
            self._bar.write(f"profile: {self._context.workdir / 'profile'}")
        self._tracing = False

    def read(self, pending: PendingStep | None) -> bool:
        """Wait for a step, show it, and log it if its number is a multiple of `config.train.log_every`.

        Returns:
            whether some process was asked to end.

        Raises:
            ValueError: the step was bad, and the configuration says to stop.
        """
        if pending is None:
            return False
        config, step = self._context.config, pending.step
        metrics = {name: float(value) for name, value in jax.device_get(pending.metrics).items()}
        self._bar.update()
        if config.profile.steps and step == config.profile.steps[1]:
            self._stop_profile()
        ends, bad = bool(metrics.pop("stop")), bool(metrics.pop("bad"))
        if bad:
            self._report_bad(pending, metrics)
        self._skipped = self._skipped + 1 if bad else 0
        if self._log and step % config.train.log_every == 0:
            pace = self.throughput.measure(step)
            self._log.write(step, metrics | {"learning_rate": float(np.asarray(self._schedule(step - 1)))} | pace)
            if pace:
                self._bar.set_postfix_str(
                    f"loss {metrics['loss/total']:.4f}, {pace['images_per_second']:.1f} images/s"
                    + (f", {pace['data_wait']:.0%} waiting for data" if pace["data_wait"] > 0.1 else "")
                )
        return ends

    def validation(self, step: int, scores: dict[str, float], predictions: Predictions) -> None:
        """Log the scores of a validation, and pictures of it."""
        if self._log:
            self._log.write(step, {f"validation/{name}": value for name, value in scores.items()})
            self._log.picture(step, "validation", sheet(self._context, predictions))
            self._bar.write(f"step {step}: validation F1 {scores['f1']:.3f}, IoU {scores['iou']:.3f}")
        self.throughput.restart(step)

    def _report_bad(self, pending: PendingStep, metrics: dict[str, float]) -> None:
        step, loss, norm = pending.step, metrics["loss/total"], metrics["gradient_norm"]
        ids = gather_strings(pending.ids)
        file = self._context.workdir / "bad_steps.jsonl"
        if is_lead_host():
            with file.open("a", encoding="utf-8") as lines:
                numbers = {"loss": loss if math.isfinite(loss) else None}
                numbers["gradient_norm"] = norm if math.isfinite(norm) else None
                lines.write(json.dumps({"step": step, **numbers, "ids": ids}) + "\n")
        text = f"step {step} is bad (loss {loss:.4g}, gradient norm {norm:.4g}); its {len(ids)} images are in {file}"
        remedy = "start in a new workdir with a smaller --config.optimizer.learning_rate"
        if self._context.config.train.bad_step == "stop":
            raise ValueError(
                f"{text}. No checkpoint holds anything of it. Look at them; then resume past it with "
                f"--config.train.bad_step=skip, or {remedy}"
            )
        if self._skipped >= MOST_SKIPPED:
            raise ValueError(f"{text}, and {MOST_SKIPPED} steps before it were skipped already; {remedy}")
        self._bar.write(f"{text}; skipped")


class Throughput:
    """Measure how fast steps follow each other, and which share of the time the host waited for data."""

    def __init__(self, batch_size: int):
        self._batch_size = batch_size
        self.restart(0)

    def restart(self, step: int) -> None:
        """Count anew from `step`, just finished, leaving out what was no training (compiling, scoring)."""
        self._step, self._began, self._waited = step, time.perf_counter(), 0.0

    def waited(self, seconds: float) -> None:
        """Count a wait for the next batch."""
        self._waited += seconds

    def measure(self, step: int) -> dict[str, float]:
        """Measure the pace since the last call of either method, up to `step`, just finished: {} if that is none."""
        steps, seconds = step - self._step, time.perf_counter() - self._began
        if steps <= 0:
            return {}
        pace = {
            "images_per_second": steps * self._batch_size / seconds,
            "seconds_per_step": seconds / steps,
            "data_wait": self._waited / seconds,
        }
        self.restart(step)
        return pace


class UnreadableImages:
    """Count the training images that could not be read, name each once, and stop a run with too many of them."""

    def __init__(self, images: int, max_share: float):
        self.images, self.max_share = images, max_share
        self.messages: dict[str, int] = {}  # message → how often it was met

    def note(self, skipped: list[str]) -> None:
        """Take the "skipped" entries of a batch.

        Raises:
            ValueError: more than `max_share` of all images turned out to be unreadable.
        """
        for message in (line for entry in skipped for line in entry.splitlines()):
            if message not in self.messages:
                say(f"skipped: {message}")
            self.messages[message] = self.messages.get(message, 0) + 1
        if len(self.messages) > self.max_share * self.images:
            raise ValueError(
                f"{len(self.messages)} of {self.images} training images cannot be read, more than "
                f"config.data.max_unreadable = {self.max_share} allows; repair the data or raise that share. "
                f"The first: {next(iter(self.messages))}"
            )


def report_unreadable(broken: UnreadableImages) -> None:
    """Say how many images could not be read, in all processes."""
    messages = gather_strings([message for message, times in broken.messages.items() for _ in range(times)])
    if messages:
        print_once(f"{len(set(messages))} unreadable training images were skipped, {len(messages)} times")

"""The input pipeline alone, on one core: from JPEG files to the arrays of a training sample."""

import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pimjax.config import DataConfig, ForgeryConfig, PidaConfig
from pimjax.data.donors import Donors
from pimjax.data.pipeline import TrainTransform
from pimjax.data.registry import load_source
from pimjax.data.sources import FileSource, Record, Source

WIDTH, HEIGHT = 512, 384  # of the photographs, in pixels


def measure_pipeline(source: str, seconds: float = 10.0) -> list[dict[str, Any]]:
    """Measure samples per second at 512²: without forgeries, with the default share of them (0.5), with one every time.

    The photographs of `source` are first written as 512×384 JPEGs of quality 90; a sample is reading and decoding one,
    flip, a forgery (PIDA's whole family, splicing, copy-move and removal alike), and all targets.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            photographs = _photographs(load_source(source), Path(folder))
            return [
                {"pida": share, "samples_per_second": _rate(photographs, share, seconds)} for share in (0.0, 0.5, 1.0)
            ]
    finally:
        cv2.setNumThreads(threads)


def _photographs(source: Source, folder: Path) -> FileSource:
    records = []
    for index in range(len(source)):
        image = cv2.resize(source[index]["image"], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        path = folder / f"{index}.jpg"
        cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        records.append(Record(path))
    return FileSource(records, "benchmark")


def _rate(source: FileSource, share: float, seconds: float) -> float:
    everything = PidaConfig(share, after_resize=0.2, kinds=ForgeryConfig(1, 1, 1, 1))
    transform = TrainTransform(DataConfig(), everything, Donors((source,)))
    transform.random_map(source[0], np.random.default_rng(0))
    began, samples = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds:
        transform.random_map(source[samples % len(source)], np.random.default_rng(samples))
        samples += 1
    return samples / passed


def pipeline_table(rows: list[dict[str, Any]]) -> str:
    """Return the rows of `measure_pipeline` as Markdown."""
    lines = ["| share of forgeries | samples/s on one core, 512×384 JPEG → 512² |", "|---|---|"]
    return "\n".join([*lines, *(f"| {row['pida']:.0%} | {row['samples_per_second']:.0f} |" for row in rows)])

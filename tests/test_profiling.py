"""The benchmark measures what it says, reports it rightly, and survives a case that fails."""

import json

import pytest

from pimjax.cli import main
from pimjax.config import tiny_model
from pimjax.data.registry import load_source
from pimjax.profiling.cases import Case
from pimjax.profiling.measure import measure
from pimjax.profiling.pipeline import HEIGHT, WIDTH, _photographs, measure_pipeline
from pimjax.profiling.report import fraction_of_peak, table

TINY = tiny_model(depths=(1, 1), num_heads=(1, 2), global_stream=False)


def row(engine="pimjax", **changes):
    facts = {"engine": engine, "task": "mask", "size": 512, "batch": 2, "device": "1 × NVIDIA H200", "compile_s": 9.0}
    return facts | {"seconds": [4.0, 2.0, 3.0], "peak_bytes": 5e9, "operations": 6e11, **changes}


def test_table_sets_the_engines_side_by_side():
    header, _, line = table([row(), row("pytorch", seconds=[9.0])], "float32").splitlines()
    cells = dict(zip(header.split(" | "), line.split(" | "), strict=True))
    assert cells["s (min … max)"] == "3 (2 … 4)"
    assert cells["images/s"] == "0.667"
    assert cells["ms/Mpixel"] == "5,722.0"
    assert cells["peak GB"] == "5.00"
    assert cells["PyTorch s"] == "9"
    assert cells["ratio |"] == "3.00 |"


def test_table_shows_what_failed_and_why():
    failed = {"engine": "pytorch", "task": "mask", "size": 512, "batch": 2, "seconds": [], "error": "no memory"}
    lines = table([row(), failed], "float32").splitlines()
    assert lines[2].endswith("| – | – | – |")
    assert "pytorch, mask 512 2: no memory" in lines


def test_fraction_of_peak_is_of_the_devices_own():
    assert fraction_of_peak(row(operations=989e12 * 3 / 2), "bfloat16") == pytest.approx(0.5)
    assert fraction_of_peak(row(), "float32") is None
    for other in ("1 × cpu", "1 × NVIDIA L40S", "1 × NVIDIA H100 NVL"):
        assert fraction_of_peak(row(device=other), "bfloat16") is None


def test_cases_run_in_their_own_processes_and_one_that_fails_does_not_stop_the_others():
    cases = [Case("mask", 32, -1, "float32", TINY), Case("mask", 32, 1, "float32", TINY)]
    (broken,), (measured,) = measure(cases, ["pimjax"], repeats=2)
    assert broken["seconds"] == []
    assert "Error" in broken["error"]
    assert len(measured["seconds"]) == 2
    assert min(measured["seconds"]) > 0
    assert measured["operations"] > 1e5
    assert 1e8 < measured["peak_bytes"] < 5e9


def test_pipeline_reads_photographs_of_the_size_it_says(tmp_path):
    photographs = _photographs(load_source("installed:validation"), tmp_path)
    assert [photographs[i]["image"].shape for i in range(len(photographs))] == [(HEIGHT, WIDTH, 3)] * 2
    rates = measure_pipeline("installed:validation", seconds=0.3)
    assert [rate["pida"] for rate in rates] == [0, 0.5, 1]


def test_command_prints_tables_and_writes_what_it_measured(tmp_path, capsys):
    config = tmp_path / "tiny.py"
    config.write_text(
        "from pimjax.config import Config, tiny_model\n"
        "def get_config():\n"
        "    return Config(model=tiny_model(depths=(1, 1), num_heads=(1, 2), global_stream=False))\n"
    )
    arguments = ["--config", str(config), "--inference", "--train", "32", "--batch", "2", "--repeats", "1"]
    assert main(["bench", *arguments, "--no-pytorch", "--source", "", "--output", str(tmp_path)]) == 0
    assert "| train | 32² | 2 |" in capsys.readouterr().out
    result = json.loads((tmp_path / "bench.json").read_text())
    assert result["model"]["depths"] == [1, 1]
    assert result["rows"][0]["task"] == "train"
    assert len(result["rows"][0]["seconds"]) == 1


def test_comparison_is_of_the_published_size():
    """The composition lacks the local stream, the fusion and, in each Swin, nothing."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from pimjax.profiling.pytorch import _composition

    network = _composition(Case("mask", 64, 1, "float32"))
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == 166_620_811 - 15_707_528 - 1_607_048

"""`pimjax benchmark`: a plan is read, run by processes, killed, resumed; its tables say what `evaluate` says."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest
import reference_weights
from reference.models import by_formula

from pimjax import to_torch
from pimjax.cli import main
from pimjax.config import Config
from pimjax.config.load import read_config
from pimjax.config.networks import COMPARED, SwinConfig
from pimjax.config.values import ConfigError
from pimjax.data.datasets.catalog import BUILDERS
from pimjax.evaluation.plan import read_plan
from pimjax.evaluation.plan_run import open_datasets
from pimjax.evaluation.results import Interval
from pimjax.evaluation.standings import Cell, marked
from pimjax.models.factory import create_model
from pimjax.models.preprocessing import preprocessing_of
from pimjax.models.trained import Trained
from pimjax.training.init_params import fresh_variables
from pimjax.weights import to_released
from pimjax.weights.card import ModelCard, card_of_run
from pimjax.weights.formats import write_model

MEASURES = ("image AUC", "authentic images alarmed", "authentic pixels marked")
PLAN = """
output = "out"
scores = ["pim-fullsize.f1", "pim.f1"]
versus = "everything"
[[models]]
model = "everything"
[[models]]
model = "noise-level"
[[models]]
name = "theirs"
maps = "maps"
[[datasets]]
name = "forged"
source = "csv:forged.csv"
kinds = { splice = "s_*", copy-move = "c_*" }
[[datasets]]
name = "more"
source = "csv:forged.csv"
every = 2
corrupted = false
[corruptions]
jpeg = [90]
[[cited]]
model = "TruFor"
dataset = "forged"
value = 0.737
source = "its paper"
"""


@pytest.fixture
def plan(tmp_path):
    tmp_path = tmp_path / "s_c_"  # no image of it is of a kind for that
    tmp_path.mkdir()
    rng = np.random.default_rng(0)
    (tmp_path / "maps").mkdir()
    lines = ["image,mask"]
    for name in ("s_0", "s_1", "c_2", "c_3", "a_4"):
        image = rng.integers(0, 256, (40, 48, 3), np.uint8)
        mask = np.zeros((40, 48), np.uint8)
        mask[5:20, 10:30] = 255 * (name[0] != "a")
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
        cv2.imwrite(str(tmp_path / f"{name}_truth.png"), mask)
        cv2.imwrite(str(tmp_path / "maps" / f"{name}.png"), cv2.GaussianBlur(mask, (9, 9), 0))
        lines.append(f"{name}.png,{name}_truth.png" if name[0] != "a" else f"{name}.png,")
    (tmp_path / "forged.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "plan.toml").write_text(PLAN)
    return tmp_path / "plan.toml"


def cells(output):
    found = json.loads((output / "tables.json").read_text())["cells"]
    return {(cell["table"], cell["model"], cell["column"]): cell for cell in found}


def test_a_plan_killed_and_resumed_says_what_evaluate_says(plan, capsys, monkeypatch):
    output = plan.parent / "out"
    command = [sys.executable, "-m", "pimjax", "benchmark", str(plan), "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(output.glob("noise-level/forged/images.jsonl")):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (output / "tables.md").exists()
    assert main(["benchmark", str(plan), "--workers", "2"]) == 0
    capsys.readouterr()
    assert (output / "index.html").exists()

    monkeypatch.chdir(plan.parent)
    sources = ["forged=csv:forged.csv"]
    maps = ["--predictions", "theirs=maps"]
    assert main(["evaluate", "--model", "everything", "noise-level", *maps, "--source", *sources]) == 0
    capsys.readouterr()
    ours = cells(output)
    for model in ("everything", "noise-level", "theirs"):
        scores = json.loads((plan.parent / "evaluation" / model / "forged" / "scores.json").read_text())
        for convention, metric in (("pim-fullsize", "f1"), ("pim", "f1")):
            given = ours[f"{convention}.{metric}", model, "forged"]
            expected = scores["scores"][convention][metric]
            assert [given[key] for key in ("value", "low", "high")] == [
                expected[key] for key in ("value", "low", "high")
            ]
    # Kinds are means over the images of one name; everything marked is 2·300/(300 + 1920) in all.
    by_kind = ours["forged by kind", "everything", "splice"]
    assert by_kind["value"] == pytest.approx(2 * 300 / (300 + 40 * 48))
    assert by_kind["images"] == 2
    assert ours["pim-fullsize.f1", "theirs", "average rank"]["value"] == 1
    assert ours["pim-fullsize.f1 against everything", "theirs", "forged"]["value"] > 0.5
    assert ours["cost", "noise-level", "peak memory, MiB"]["value"] > 10
    assert (output / "corrupted/everything/forged/jpeg_90/images.jsonl").is_file()
    # Whoever marks everything alarms at the one authentic image, and tells nothing.
    for treatment in ("as they are", "jpeg 90"):
        together = [
            ours["image level, all datasets together", "everything", f"{treatment}: {what}"] for what in MEASURES
        ]
        assert [cell["value"] for cell in together] == [0.5, 1, 1]
    # A saved map is of an image as it is: its corrupted score would be of nothing that anybody computed.
    assert not (output / "corrupted/theirs").exists()


def test_a_number_that_was_cited_has_no_rank_and_says_whose_it_is(plan, capsys):
    assert main(["benchmark", str(plan)]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "TruFor" in line)
    assert "cited: its paper" in row
    assert "*0.737*" in row
    cited = [cell for key, cell in cells(plan.parent / "out").items() if key[1].startswith("TruFor")]
    assert [(cell["column"], cell["mark"]) for cell in cited] == [("forged", "cited")]


def test_a_model_that_cannot_take_part_is_told_and_the_others_are_scored(plan, capsys):
    plan.write_text(PLAN.replace('model = "noise-level"', 'name = "mine"\nmodel = "nowhere:nothing"'))
    assert main(["benchmark", str(plan), "--workers", "3"]) == 1
    printed = capsys.readouterr()
    assert "mine does not take part" in printed.err
    assert "nowhere" in printed.err
    assert "mine did not take part" in (plan.parent / "out/tables.md").read_text()
    assert ("pim-fullsize.f1", "everything", "forged") in cells(plan.parent / "out")


def test_another_threshold_does_not_take_the_old_numbers(plan, capsys):
    assert main(["benchmark", str(plan)]) == 0
    plan.write_text(PLAN.replace('output = "out"', 'output = "out"\nthreshold = 0.25'))
    assert main(["benchmark", str(plan)]) == 1
    assert "holds results for threshold = 0.5" in capsys.readouterr().err
    assert not cells(plan.parent / "out")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("scores =", "score =", "plan.score: no such key; did you mean plan.scores?"),
        ('model = "everything"', 'modle = "everything"', "number 1: models.modle: no such key; did you mean"),
        ("every = 2", "every = 0", "number 2: datasets.every is 0; it must be 1 or more"),
        ("jpeg = [90]", "jpeg = [900]", "levels are whole numbers, 1 … 100"),
        ("jpeg = [90]", "jpg = [90]", "corruption 'jpg': it must be one of these"),
        ('versus = "everything"', 'versus = "all"', "versus is 'all'; it must be one of everything, noise-level"),
        ('dataset = "forged"', 'dataset = "fogred"', "dataset 'fogred' is not in the plan"),
        ('source = "its paper"', "", "a number needs model and source"),
        ('maps = "maps"', "", "model theirs: give one of model and maps"),
        ("[[models]]", "[[models]", "no plan can be read from it"),
        ('name = "theirs"', 'name = "noise-level."', "two of its models are called noise-level"),
        ('name = "theirs"', 'name = "logs"', "a model is called logs, as a folder of the output"),
    ],
)
def test_a_slip_of_the_pen_is_one_line(plan, old, new, what):
    plan.write_text(PLAN.replace(old, new, 1))
    with pytest.raises(ConfigError) as raised:
        read_plan(plan)
    assert what in str(raised.value)
    assert str(raised.value).startswith(str(plan))
    assert len(str(raised.value).splitlines()) == 1


def test_the_best_and_the_second_of_a_column_are_marked():
    def column(*values):
        return [[Cell(text="m"), Cell(Interval(value, value, value, 9))] for value in values]

    rows = column(0.2, 0.5, 0.4)
    marked(["model", "forged"], rows)
    assert [row[1].mark for row in rows] == ["", "best", "second"]
    rows = column(0.2, 0.5, 0.4)
    marked(["model", "forged: authentic pixels marked"], rows)
    assert [row[1].mark for row in rows] == ["best", "", "second"]


def test_a_worker_ends_with_who_started_it(plan):
    sleepy = "import pathlib, time\ndef model(image):\n    pathlib.Path('begun').touch()\n    time.sleep(600)\n"
    (plan.parent / "sleepy.py").write_text(sleepy)
    plan.write_text(PLAN.replace('model = "noise-level"', 'model = "sleepy:model"'))
    command = [sys.executable, "-m", "pimjax", "benchmark", plan.name, "--model", "model", "--worker"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=plan.parent)
    while process.poll() is None and not (plan.parent / "begun").exists():
        time.sleep(0.05)
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(timeout=60) == 1


def test_halves_of_a_dataset_share_no_image(plan):
    text = plan.read_text()
    for start, names in ((0, ["s_0", "c_2", "a_4"]), (1, ["s_1", "c_3"])):
        plan.write_text(text.replace("every = 2", f"every = 2\nstart = {start}"))
        source = open_datasets(read_plan(plan))["more"]
        assert [Path(source.encoded(number).id).stem for number in range(len(source))] == names
    plan.write_text(text.replace("every = 2", "start = 5"))
    with pytest.raises(ConfigError, match="dataset more: start is 5, of 5 images"):
        open_datasets(read_plan(plan))


def test_a_log_gets_no_line_for_every_look_at_the_bar(plan, capfd):
    assert main(["benchmark", str(plan)]) == 0
    printed = capfd.readouterr().err
    assert printed.count("image/s") + printed.count("s/image") <= 4


SHIPPED = sorted((Path(__file__).parent.parent / "configs/benchmarks").glob("*.toml"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_the_shipped_plans_name_what_there_is(file):
    """Of runs, the configurations that write them; of datasets, the builders."""
    configs, shipped = file.parent.parent, read_plan(file)
    for entry in shipped.models:
        if "runs/" in entry.model:
            written = [configs / f"{Path(entry.model).name}.py", configs / "baselines" / f"{Path(entry.model).name}.py"]
            assert any(path.is_file() for path in written), entry.model
    for entry in shipped.datasets:
        scheme, _, name = entry.source.partition(":")
        assert scheme == "csv" or name.partition(":")[0] in BUILDERS, entry.source
    assert shipped.corruptions


def test_the_paper_s_plan_has_all_of_its_networks_on_twelve_sets():
    paper = read_plan(next(file for file in SHIPPED if file.stem == "paper"))
    networks = {read_config(file).model.architecture for file in (SHIPPED[0].parent.parent / "baselines").glob("*.py")}
    assert len(paper.datasets) == 12
    assert {"swin_upernet" if name == "swin" else name for name in networks} | {"pim"} == {m.name for m in paper.models}


def write_networks(folder):
    """All compared networks in the forms of their files, weights by formula, and PIM; ViT and Swin are fresh."""
    arrays = {name: by_formula.weights(name, 1) for name in COMPARED if name != "vit_b_16"}
    arrays["pim"] = reference_weights.state_dict(1)
    for name, weights in arrays.items():
        np.savez(folder / f"{name}.npz", **weights)
    vit, swin = COMPARED["vit_b_16"](decoder_channels=8), SwinConfig(embed_dim=24, decoder_channels=16)
    fresh = fresh_variables(Trained(vit), jax.random.key(0))
    card = ModelCard(vit, preprocessing_of(vit).to_json())
    write_model(folder / "vit_b_16.safetensors", to_released("vit_b_16", fresh, decoder_channels=8), card)
    fresh = fresh_variables(create_model(swin), jax.random.key(0))
    write_model(folder / "swin.safetensors", to_torch(fresh, swin), card_of_run(Config(model=swin)))
    return sorted(path.name for path in (*folder.glob("*.npz"), *folder.glob("*.safetensors")))


@pytest.mark.slow
def test_all_networks_go_through_one_plan(plan, capsys):
    files = write_networks(plan.parent)
    assert len(files) == len(COMPARED) + 2
    entries = "".join(f'[[models]]\nmodel = "{file}"\n' for file in files)
    plan.write_text(
        f'output = "out"\nscores = ["pim-fullsize.f1"]\n{entries}[[datasets]]\nsource = "csv:forged.csv"\nevery = 2\n'
    )
    assert main(["benchmark", str(plan)]) == 0, capsys.readouterr().err
    names = {Path(file).stem for file in files}
    found = cells(plan.parent / "out")
    parameters = {model: int(found["cost", model, "parameters"]["value"]) for model in names}
    assert parameters["pim"] == 166_620_811 and parameters["cat_net"] == 114_263_810
    assert min(parameters.values()) > 10_000
    for name in names:
        rows = [
            json.loads(line) for line in (plan.parent / "out" / name / "forged/images.jsonl").read_text().splitlines()
        ]
        assert len(rows) == 3
        assert all(0 <= row["pim-fullsize.f1"] <= 1 for row in rows if row["manipulated"])

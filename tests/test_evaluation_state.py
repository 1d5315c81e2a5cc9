"""What evaluate, robustness and report read again, and write: damaged, somebody else's, or in another's hands."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from toy_set import write_set

from pimjax.cli import main
from pimjax.data.registry import load_source
from pimjax.evaluation import report
from pimjax.evaluation.benchmark import locked, read_results, run_benchmark
from pimjax.evaluation.evaluate import evaluate
from pimjax.evaluation.predictors import model_predictor
from pimjax.evaluation.report import write_report
from pimjax.evaluation.robustness import run_robustness
from pimjax.files import RECORD, ForeignFileError

TYPES = (None, True, -1, 1e999, "text", [1], {"a": 1})


def red(image):
    return image[..., 0] / 255


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("state")
    rng = np.random.default_rng(0)
    mask = np.zeros((24, 32), np.uint8)
    mask[4:12, 4:20] = 255
    write_set(folder, [(rng.integers(0, 255, (24, 32, 3), np.uint8), mask * (n > 0)) for n in range(3)], "broken.png")
    return folder


@pytest.fixture
def source(folder):
    return load_source(f"csv:{folder / 'set.csv'}")


@pytest.fixture
def finished(source, tmp_path):
    """The output of evaluate and robustness."""
    run_benchmark([model_predictor("red", red)], {"s": source}, tmp_path / "out")
    run_robustness([model_predictor("red", red)], {"s": source}, ["gamma=0.7"], tmp_path / "out/r")
    return tmp_path / "out"


# One writer at a time.


def test_a_second_one_is_refused_and_the_first_one_s_rows_stay(folder, source, tmp_path, capsys):
    started, go_on, errors = threading.Event(), threading.Event(), []

    def slow(image):
        started.set()
        assert go_on.wait(60)
        return red(image)

    def first():
        try:
            run_benchmark([model_predictor("red", slow)], {"s": source}, tmp_path)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    assert started.wait(60)
    rows = tmp_path / "red/s/images.jsonl"
    with rows.open("a") as file:
        file.write('{"number": 0, "id": "half of a li')
    try:
        for other in (
            lambda: run_benchmark([model_predictor("red", red)], {"s": source}, tmp_path),
            lambda: run_robustness([model_predictor("red", red)], {"s": source}, ["gamma"], tmp_path),
        ):
            with pytest.raises(ValueError, match="another pimjax evaluate or robustness writes there"):
                other()
        with pytest.raises(ValueError, match=r"images\.jsonl: another process writes it"):
            evaluate(model_predictor("red", red), source, tmp_path / "red/s")
        assert rows.read_text().endswith("half of a li")
    finally:
        rows.write_text("")
        go_on.set()
        thread.join()
    assert not errors


@pytest.mark.parametrize("command", ["evaluate", "robustness", "report"])
def test_each_command_is_refused_in_one_line_while_another_runs(command, folder, finished, tmp_path):
    arguments = {
        "report": ["report", str(finished), "--output", str(tmp_path / "page.html")],
        "evaluate": ["evaluate", "--model", "everything", "--source", f"csv:{folder}/set.csv"],
        "robustness": ["robustness", "--model", "everything", "--source", f"csv:{folder}/set.csv"],
    }[command]
    arguments += [] if command == "report" else ["--output", str(finished)]
    program = "import sys; from pimjax.cli import main; sys.exit(main())"
    with locked(finished):
        done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"error: {finished}: another pimjax evaluate or robustness writes there")
    assert not (tmp_path / "page.html").exists()


def test_a_report_needs_no_right_to_write_where_the_results_are(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "pimjax.evaluation.benchmark.lock_file", lambda *_: (_ for _ in ()).throw(PermissionError("no"))
    )
    write_report(finished, tmp_path / "page.html")
    assert (tmp_path / "page.html").is_file()


# Never over what is not ours.


@pytest.mark.parametrize(
    "name",
    [
        *("tables.md", "tables.tex", "benchmark.json", "red/s/about.json", "red/s/images.csv", "red/s/images.jsonl"),
        *("red/s/scores.json", "red/s/pictures/000002.jpg"),
    ],
)
def test_a_user_s_file_is_no_place_for_results(name, source, tmp_path):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    asked = []
    with pytest.raises(ValueError, match=os.path.basename(name)):
        run_benchmark([model_predictor("red", asked.append)], {"s": source}, tmp_path)
    assert not asked and (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["robustness.json", "robustness.png", "robustness.svg", "red/s/gamma_0.7/images.csv"])
def test_a_user_s_file_is_no_place_for_robustness(name, source, tmp_path):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    asked = []
    with pytest.raises(ValueError, match=os.path.basename(name)):
        run_robustness([model_predictor("red", asked.append)], {"s": source}, ["gamma=0.7"], tmp_path)
    assert not asked and (tmp_path / name).read_text() == "mine"


def test_a_user_s_page_stays(finished, tmp_path, capsys):
    (tmp_path / "page.html").write_text("mine")
    assert main(["report", str(finished), "--output", str(tmp_path / "page.html")]) == 1
    assert "page.html: exists and is not recorded as written by pimjax" in capsys.readouterr().err
    assert (tmp_path / "page.html").read_text() == "mine"


def test_what_was_corrected_by_hand_stays(finished, source):
    (finished / "tables.md").write_text("corrected")
    with pytest.raises(ForeignFileError, match=r"tables\.md: exists and was changed"):
        run_benchmark([model_predictor("red", red)], {"s": source}, finished)
    assert (finished / "tables.md").read_text() == "corrected"


def test_results_of_an_older_pimjax_which_kept_no_record_are_gone_on_with(finished, source):
    for record in finished.rglob(RECORD):
        record.unlink()
    run_benchmark([model_predictor("red", red), model_predictor("too", red)], {"s": source}, finished)
    run_robustness([model_predictor("red", red)], {"s": source}, ["gamma=0.7"], finished / "r")
    assert [result.model for result in read_results(finished)[1]] == ["red", "too"]


# State files are input.


def damaged(content):
    """What may be found instead of a JSON object, with words that tell the fault."""
    yield from ("", "{", "[]", "null", '"text"', "\x00", "[" * 100_000, '{"a":' * 100_000, "{}")
    for key, value in content.items():
        yield json.dumps({k: v for k, v in content.items() if k != key})
        for other in TYPES:
            if type(other) is not type(value):
                yield json.dumps(content | {key: other})


@pytest.mark.parametrize("name", ["benchmark.json", "red/s/scores.json", "r/robustness.json", "red/s/about.json"])
def test_a_damaged_state_file_is_one_clear_line_or_nothing(name, finished, source, tmp_path, monkeypatch):
    """Whatever stands there: a ValueError that names a file, or results all the same; never another error."""
    file, refused = finished / name, 0

    def read():
        write_report(finished, tmp_path / "page.html", finished / "r")

    def write():
        run_benchmark([model_predictor("red", red)], {"s": source}, finished)

    uses = {"benchmark.json": (read, write), "red/s/about.json": (write,)}
    uses |= dict.fromkeys(("red/s/scores.json", "r/robustness.json"), (read,))
    for plot in ("exceedance", "precision_recall", "reliability_curves", "robustness_curves"):
        monkeypatch.setattr(report.plots, plot, lambda *_, **__: "")  # slow, and drawn from rows
    for content in damaged(json.loads(file.read_text())):
        file.write_bytes(content.encode())
        for use in (
            lambda: write_report(finished, tmp_path / "page.html", finished / "r"),
            lambda: run_benchmark([model_predictor("red", red)], {"s": source}, finished),
        ):
            if name == "r/robustness.json" and use.__code__.co_names[0] != "write_report":
                continue
            try:
                use()
            except ValueError as error:
                refused += 1
                assert str(finished) in str(error) and "\n" not in str(error) and len(str(error)) < 1500
            if not file.exists() or file.read_bytes() != content.encode():
                file.unlink(missing_ok=True)  # it was sound enough to be replaced
                file.write_bytes(content.encode())
    assert refused > 10


def anywhere(content, path=()):
    """Content with one thing in it, at any depth, missing or of another type."""
    items = (
        content.items() if isinstance(content, dict) else enumerate(content[:1]) if isinstance(content, list) else ()
    )
    for key, value in items:
        changed = dict(content) if isinstance(content, dict) else list(content)
        if isinstance(content, dict):
            yield {k: v for k, v in content.items() if k != key}
        for other in (None, [], {}, "text", True, 5):
            changed[key] = other
            yield changed
        if key not in list(content)[2:-1] or not isinstance(value, dict):  # of many alike, some
            for part in anywhere(value):
                changed[key] = part
                yield changed


def test_whatever_is_missing_at_any_depth_is_refused_or_shown_as_undefined(finished, monkeypatch):
    for name in ("exceedance", "precision_recall", "reliability_curves", "robustness_curves"):
        monkeypatch.setattr(report.plots, name, lambda *_, **__: "")  # slow, and drawn from rows
    counts = {"of": 1, "manipulated": 1, "authentic": 0}
    for file, use in (
        (finished / "red/s/scores.json", lambda: report._in_words(read_results(finished)[1], counts)),
        (finished / "r/robustness.json", lambda: report._corruptions(report._read_robustness(finished / "r"))),
    ):
        whole = file.read_text()
        for content in anywhere(json.loads(whole)):
            file.write_text(json.dumps(content))
            with contextlib.suppress(ValueError):
                use()
        file.write_text(whole)
        use()


def test_a_state_file_that_is_no_file_does_not_hang(finished, source, tmp_path):
    for name in ("benchmark.json", "red/s/scores.json", "red/s/images.jsonl"):
        kept = (finished / name).read_bytes()
        (finished / name).unlink()
        os.mkfifo(finished / name)
        with pytest.raises(ValueError, match=os.path.basename(name)):
            write_report(finished, tmp_path / "page.html")
        (finished / name).unlink()
        (finished / name).write_bytes(kept)
    write_report(finished, tmp_path / "page.html")


def test_a_row_that_lacks_something_is_scored_again_and_no_page_is_made_of_it(finished, source, tmp_path):
    file = finished / "red/s/images.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    outside, asked = tmp_path / "secret.jpg", []
    predictor = model_predictor("red", lambda image: asked.append(1) or red(image))
    shutil.copy(finished / "red/s" / rows[0]["picture"], outside)
    for key, value in rows[0].items():
        wrong = [{k: v for k, v in rows[0].items() if k != key}] if key not in ("number", "picture") else []
        wrong += [rows[0] | {key: [[]]}, rows[0] | {key: {"deep": [1]}}]
        wrong += [rows[0] | {key: str(outside)}] if key == "picture" else []
        wrong += [rows[0] | {key: [*value, [1]]}] if key == "histogram" else []
        for row in wrong:
            file.write_text("".join(json.dumps(other) + "\n" for other in [row, *rows[1:]]))
            with pytest.raises(ValueError, match=r"images\.jsonl"):
                write_report(finished, tmp_path / "page.html")
            if key not in ("number",):  # such a line is no row at all
                asked.clear()
                evaluate(predictor, source, finished / "red/s")
                assert len(asked) == 1, row
    write_report(finished, tmp_path / "page.html")


def test_only_the_models_of_a_run_are_scored_before_others_faults_are_told(finished, source):
    """The results of another model, which the tables need, are damaged: told before hours of work."""
    asked = []
    (finished / "red/s/scores.json").write_text("{}")
    with pytest.raises(ValueError, match=r"scores\.json: not what pimjax evaluate writes \(lacks 'scored'\)"):
        run_benchmark([model_predictor("late", asked.append)], {"s": source}, finished)
    assert not asked

"""The report: whole, escaped, without the network, with the numbers that were measured."""

import html.parser
import json
import runpy
import sys
from collections import Counter

import numpy as np
import pytest
from toy_set import write_set

from pimjax.data.images import ImageError
from pimjax.data.registry import load_source
from pimjax.evaluation import plots, report
from pimjax.evaluation.benchmark import read_results, run_benchmark
from pimjax.evaluation.predictors import Predictor, model_predictor
from pimjax.evaluation.report import best_median_worst, write_report
from pimjax.evaluation.tables import show

H, W = 48, 64
SHA = "0123456789abcdef" * 4
COMMAND = "pimjax evaluate --model '<b>&' --source csv:main.csv"
MODELS = {
    "<b>&": lambda image: image[..., 0] / 255,
    "costs $1$ or _less_": lambda image: 0.8 * image[..., 0] / 255,
}


def example(number):
    """An image with a redder part, and its mask; every fourth is authentic."""
    rng = np.random.default_rng(number)
    image, mask = rng.integers(0, 150, (H, W, 3), np.uint8), np.zeros((H, W), np.uint8)
    if number % 4:
        y, x = rng.integers(0, H - 20), rng.integers(0, W - 20)
        mask[y : y + 20, x : x + 20] = 255
        image[mask > 0, 0] += 90
    return image, mask


def corrupted():
    """A robustness.json."""
    rows, areas = [], []
    for model in MODELS:
        who, value = {"model": model, "dataset": "main"}, {"value": 0.4, "low": 0.3, "high": 0.5, "images": 9}
        rows.append(who | {"corruption": None, "parameter": None, "level": None} | value)
        for corruption in ("jpeg", "noise"):
            rows += [
                who | {"corruption": corruption, "parameter": f"{corruption} <&>", "level": n} | value for n in (50, 70)
            ]
            rows.append(rows[-1] | {"level": 90, "value": None, "low": None, "high": None})
            areas.append(who | {"corruption": corruption, "value": 0.321, "low": 0.3, "high": 0.5, "images": 9})
    about = {"command": "pimjax robustness <x>", "versions": {"jax": "0.0.7"}, "threshold": 0.5}
    return about | {"score": "pim-fullsize.f1", "rows": rows, "areas": areas}


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """The output of a benchmark of two models on twelve images and a broken one."""
    folder = tmp_path_factory.mktemp("report")
    manifest = write_set(folder, map(example, range(12)), "<broken>.png")
    datasets = {"main": load_source(f"csv:{manifest}")}
    predictors = [model_predictor(name, model, {"sha256": SHA}) for name, model in MODELS.items()]
    run_benchmark(predictors, datasets, folder / "out", command=COMMAND)
    return folder / "out"


class Page(html.parser.HTMLParser):
    """Text, ids, references, and whether every element that was opened is closed."""

    def __init__(self, text):
        super().__init__()
        self.text, self.ids, self.references, self.open, self.pictures = [], [], [], [], 0
        self.feed(text)
        self.close()
        assert not self.open
        self.text = " ".join(" ".join(self.text).split())

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.handle_attributes(tag, attributes)

    def handle_startendtag(self, tag, attributes):
        self.handle_attributes(tag, attributes)

    def handle_attributes(self, tag, attributes):
        found = dict(attributes)
        self.ids += [found["id"]] if "id" in found else []
        self.references += [found[key] for key in ("src", "href", "xlink:href", "srcset", "action") if key in found]
        assert tag not in ("script", "link", "iframe")
        if tag == "img":
            assert found["alt"]
            self.pictures += 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def page(evaluation):
    (evaluation / "robustness.json").write_text(json.dumps(corrupted()))
    target = evaluation / "pages/report.html"
    write_report(evaluation, target, evaluation, "pimjax report <out>")
    return target.read_text(encoding="utf-8")


def test_it_needs_nothing_from_outside(page):
    parsed = Page(page)
    assert parsed.references
    assert all(ref.startswith("data:image/jpeg;base64,") or ref[1:] in parsed.ids for ref in parsed.references)
    for place in page.split("://")[1:]:
        assert place.startswith("www.w3.org/")  # names of SVG, no addresses
    assert "@import" not in page and page.count("url(") == page.count("url(#")


def test_every_id_is_its_own(page):
    repeated = [name for name, times in Counter(Page(page).ids).items() if times > 1]
    assert not repeated
    assert page.count("<svg ") == 4 + 2  # of the set, and of two corruptions


def test_it_says_everything_and_escapes_it(page, evaluation):
    parsed = Page(page)
    assert 'lang="en"' in page and "<b>" not in page and "<broken>" not in page
    for text in (*MODELS, "main", "<broken>.png", SHA, COMMAND, "pimjax report <out>", "jax 0.0.7"):
        assert text in parsed.text
    for text in ("pimjax robustness <x>", "noise <&>", "0.321 [0.300, 0.500]"):
        assert text in parsed.text
    assert "13 images (9 manipulated, 3 authentic, 1 not scored)" in parsed.text
    for _, version in read_results(evaluation)[0]["versions"].items():
        assert version in parsed.text


def test_its_numbers_are_those_measured(page, evaluation):
    text = Page(page).text
    for result in read_results(evaluation)[1]:
        scores = result.summary.scores
        for value in (scores["pim"]["f1"], scores["pim-fullsize"]["f1"], result.summary.pixel_fpr_authentic):
            if value.known:
                assert show(value, result.summary.scored) in text
    f1 = sorted(row.scores["pim-fullsize.f1"] for row in result.rows if row.manipulated)
    assert all(f"F1 {value:.3f}" in text for value in f1)


def test_it_has_the_telling_pictures(page, evaluation):
    wanted = 0
    for result in read_results(evaluation)[1]:
        alarms = sum(not row.manipulated and row.confusion.fp > 0 for row in result.rows)
        wanted += min(3, alarms) + 9
    assert Page(page).pictures == wanted > 18


def test_few_and_many_images():
    assert best_median_worst([]) == [[], [], []]
    assert best_median_worst(["a"]) == [["a"], [], []]
    assert best_median_worst([*range(11)]) == [[0, 1, 2], [4, 5, 6], [8, 9, 10]]


def test_a_set_without_manipulations_pictures_and_robustness(evaluation, tmp_path):
    (tmp_path / "set.csv").write_text(f"image,mask\n{evaluation.parent}/images/0.png,\n")
    predictors = [model_predictor("all", lambda image: np.ones((H, W)))]
    run_benchmark(predictors, {"real": load_source(f"csv:{tmp_path}/set.csv")}, tmp_path)
    (tmp_path / "all/real/pictures/000000.jpg").unlink()
    write_report(tmp_path, tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "robustness" not in page.ids and "#robustness" not in page.references
    assert page.pictures == 0 and "no picture was written" in page.text
    assert "Something is marked on 1 of 1" in page.text
    assert text.count("<svg ") == 2  # reliability and false alarms


def test_a_model_that_scored_nothing(evaluation, tmp_path):
    def never(example):
        raise ImageError(f"{example['id']}: no map")

    (tmp_path / "set.csv").write_text(f"image,mask\n{evaluation.parent}/images/0.png,\n")
    run_benchmark([Predictor("never", never, {})], {"s": load_source(f"csv:{tmp_path}/set.csv")}, tmp_path)
    write_report(tmp_path, tmp_path / "a.html")
    text = Page((tmp_path / "a.html").read_text(encoding="utf-8")).text
    assert "1 image (1 not scored)" in text and "0.png: no map" in text and "Nothing was scored" in text


def test_what_is_missing_is_named(evaluation, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"benchmark\.json: not there; give the --output of a finished"):
        write_report(tmp_path, tmp_path / "a.html")
    with pytest.raises(FileNotFoundError, match=r"robustness\.json: not there; give the --output of a finished"):
        write_report(evaluation, tmp_path / "a.html", tmp_path)
    assert not (tmp_path / "a.html").exists()


@pytest.mark.parametrize("module", [plots, report])
def test_without_a_library_one_clear_error(module, monkeypatch):
    library = "jinja2" if module is report else "matplotlib"
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ValueError, match=rf"{library}: pip install 'pimjax\[report\]'"):
        runpy.run_path(module.__file__)


def test_robustness_curves_as_files(tmp_path):
    plots.save_robustness(corrupted()["rows"], tmp_path / "curves")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "costs $1$ or _less_" in (tmp_path / "curves.svg").read_text(encoding="utf-8")

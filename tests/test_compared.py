"""The compared networks against recordings of their originals: names, counts, outputs, training steps, files."""

import contextlib
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compared_cases import FOLDER, Recording, as_float, computed, difference, keys, wants
from flax.traverse_util import flatten_dict
from PIL import Image

from pimjax.cli import main
from pimjax.config.networks import COMPARED, NETWORKS
from pimjax.data.images import decode_photo
from pimjax.data.registry import load_source
from pimjax.data.sources import decode_example
from pimjax.evaluation.load_predictor import localizer_predictor
from pimjax.inference.compared import ComparedLocalizer, network_inputs
from pimjax.inference.inputs import find_photos
from pimjax.inference.localizer import Localization, Localizer
from pimjax.inference.page_work import Work
from pimjax.inference.predict import BatchPredictor, OutputOptions
from pimjax.models import create_model
from pimjax.models.catalog import CATALOG
from pimjax.models.preprocessing import PREPROCESSING
from pimjax.models.released import RELEASED, variable_shapes
from pimjax.training.compared_losses import LOSSES
from pimjax.weights import from_released, to_released
from pimjax.weights.card import ModelCard
from pimjax.weights.convert import convert
from pimjax.weights.load import read_model
from pimjax.weights.names.released import TENSORFLOW, constants, released_name, to_released_layout
from pimjax.weights.released import recognize
from pimjax.weights.torch_file import write_torch

# Of the networks' pages; MVSS-Net's counts 4,098,000 values of dead classifiers and 69,120 fixed ones too.
COUNTS = {
    "fcn_resnet50": 32_947_266,
    "deeplabv3_resnet50": 39_633_986,
    "unet": 31_037_698,
    "vit_b_16": 86_567_656,
    "mfcn": 134_282_570,
    "rru_net": 4_097_249,
    "mvss_net": 146_880_335 - 4_098_000 - 69_120,
    "pscc_net": 3_667_942,
    "cat_net": 114_263_810,
    "evp": 64_544_402,
    "trufor": 68_697_421,
}
slow = pytest.mark.slow
EVALUATED = [
    Recording("rru_net", "eval_64x96", 1, bar=1.5e-4),
    pytest.param(Recording("rru_net", "eval_67x101", 2, bar=1.5e-4), marks=slow),
    Recording("unet", "eval_64x96", 1),
    Recording("unet", "eval_75x107", 2),
    Recording("fcn_resnet50", "eval_64x96", 1),
    pytest.param(Recording("fcn_resnet50", "eval_75x107", 2), marks=slow),
    Recording("deeplabv3_resnet50", "eval_75x107", 2),
    pytest.param(Recording("deeplabv3_resnet50", "eval_64x96", 1), marks=slow),
    Recording("mvss_net", "eval_61x94", 21),
    pytest.param(Recording("mvss_net", "eval_64x96", 21), marks=slow),
    pytest.param(Recording("mvss_net", "eval_160x128", 21), marks=slow),
    Recording("pscc_net", "eval_24x32", 11, {"crop": (24, 32)}),
    pytest.param(Recording("pscc_net", "eval_50x77", 12, {"crop": (64, 96)}), marks=slow),
    pytest.param(Recording("pscc_net", "eval_100x140", 13, {"crop": (256, 256)}), marks=slow),
    Recording("evp", "eval_64x96", 1),
    pytest.param(Recording("evp", "eval_75x117", 2), marks=slow),
    Recording("trufor", "eval_48x64", 11),
    pytest.param(Recording("trufor", "eval_75x109", 12, bar=1.1e-4), marks=slow),
    pytest.param(Recording("cat_net", "eval_48x64", 21), marks=slow),
    pytest.param(Recording("cat_net", "eval_104x136", 22), marks=slow),
    pytest.param(Recording("mfcn", "eval_64x96", 1), marks=slow),
    pytest.param(Recording("mfcn", "eval_75x107", 2), marks=slow),
    pytest.param(Recording("vit_b_16", "eval_224x224", 1), marks=slow),
    pytest.param(Recording("vit_b_16", "eval_96x150", 2), marks=slow),
]


def name_of(value):
    return f"{value.network}-{value.file}" if isinstance(value, Recording) else None


def test_there_is_a_section_a_preprocessing_and_a_recording_for_each():
    assert {*COUNTS, *TENSORFLOW} == set(RELEASED) == set(PREPROCESSING) == set(COMPARED)
    assert set(CATALOG) == {*NETWORKS, "pim-small"} and len(set(CATALOG) - {"pim", "pim-small"}) == 16
    recorded = {path.name for path in FOLDER.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert recorded == {*COUNTS, *TENSORFLOW}


@pytest.mark.parametrize("network", COUNTS)
def test_names_layouts_and_counts_are_the_original_s(network):
    shapes = flatten_dict(variable_shapes(network))
    ours = {}
    for path, leaf in shapes.items():
        ours[released_name(path[1:])] = to_released_layout(path[-1], np.empty(leaf.shape, bool)).shape
        if path[0] == "batch_stats" and path[-1] == "mean":
            ours[released_name(path[1:]).replace("running_mean", "num_batches_tracked")] = ()
    ours |= {name: array.shape for name, array in constants(network, {}).items()}
    assert ours == keys(network)
    assert (
        sum(np.prod(leaf.shape, dtype=int) for path, leaf in shapes.items() if path[0] == "params") == COUNTS[network]
    )


@pytest.mark.parametrize("network", COUNTS)
def test_a_network_is_recognized_by_its_names_whatever_wraps_them(network):
    assert recognize(keys(network)) == network
    assert recognize({f"module.{name}": None for name in keys(network)}) == network
    assert recognize({f"model._orig_mod.{name}": None for name in keys(network)}) == network


def test_pim_is_none_of_them():
    assert recognize({"backbone_swin.patch_embed.proj.weight": None, "decode_head.conv_seg.weight": None}) is None


@pytest.mark.parametrize("recording", EVALUATED, ids=name_of)
def test_outputs_and_inner_maps_are_the_original_s(recording):
    maps = computed(recording)
    errors = {name: difference(recording, name, maps) for name in wants(recording)}
    assert errors
    assert max(errors.values()) < recording.bar, errors


@pytest.mark.parametrize(("file", "seed"), [("eval_48x64", 21), ("eval_104x136", 22)])
def test_cat_net_s_single_stream_form(file, seed):
    recording = Recording("cat_net", file, seed, {"dct_only": True})
    maps = computed(recording)
    assert sum(leaf.size for leaf in jax.tree.leaves(recording.variables()["params"])) == 43_536_554
    assert np.abs(maps["logits"] - recording.arrays["dct_only_logits"]).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(("file", "seed"), [("eval_48x64", 11), ("eval_75x109", 12)])
def test_trufor_as_its_authors_inference_code_has_it(file, seed):
    recording = Recording("trufor", file, seed, {"confidence_eps": 1e-5})
    maps = computed(recording)
    for name in ("confidence_logits", "score_logit"):
        assert np.abs(maps[name] - recording.arrays[f"{name}_eps1e-5"]).max() < 1.1e-4


def test_what_goes_in_and_comes_out_is_the_same():
    recording = Recording("rru_net", "eval_64x96", 1)
    weights = recording.weights()
    back = to_released("rru_net", from_released("rru_net", weights))
    assert back.keys() == weights.keys()
    assert all((back[name] == weights[name]).all() for name in weights)


def test_dead_layers_may_be_missing_and_come_back_as_a_fresh_original_has_them():
    weights = {name: np.zeros(shape, np.float32) for name, shape in keys("mvss_net").items()}
    lean = {name: array for name, array in weights.items() if ".fc." not in name and "num_batches" not in name}
    back = to_released("mvss_net", from_released("mvss_net", lean))
    assert back.keys() == weights.keys()
    assert (back["sobel_x1.0.weight"][0, 5] == [[1, 0, -1], [2, 0, -2], [1, 0, -1]]).all()


def test_a_name_too_few_too_many_or_misshapen_is_told():
    weights = Recording("rru_net", "eval_64x96", 1).weights()
    weights["out.conv.bias"] = weights["out.conv.bias"][:0]
    weights["more"] = weights.pop("up1.up.0.bias")
    with pytest.raises(
        ValueError, match=r"rru_net(.|\n)*missing: up1.up.0.bias(.|\n)*left over: more(.|\n)*out.conv.bias"
    ):
        from_released("rru_net", weights)
    with pytest.raises(ValueError, match="no such network; there are pim, swin, fcn_resnet50"):
        from_released("rrunet", weights)
    with pytest.raises(ValueError, match="no such key"):
        create_model("trufor", depth=3)


def training_step(recording, loss, train, frozen=()):
    """Loss terms, norms of gradients and statistics after a step, in float64."""
    with jax.enable_x64(True):
        model = create_model(recording.network, **recording.fields)
        variables, inputs = (as_float(tree, jnp.float64) for tree in (recording.variables(), recording.inputs()))
        targets = recording.targets()

        def objective(params):
            given = {**variables, "params": params}
            output, state = model.apply(given, **inputs, train=train, mutable=["batch_stats"])
            terms = LOSSES[loss](output, targets)
            return sum(terms.values()), (terms, state)

        (_, (terms, state)), gradients = jax.jit(jax.value_and_grad(objective, has_aux=True))(variables["params"])
        gradients = {released_name(path): np.asarray(g) for path, g in flatten_dict(gradients).items()}
        statistics = {
            released_name(path): np.asarray(s) for path, s in flatten_dict(state.get("batch_stats", {})).items()
        }
    return {name: float(value) for name, value in terms.items()}, gradients, statistics


NO_DROPS = {"dropout_rate": 0.0, "drop_path_rate": 0.0, "score_dropout_rate": 0.0}
# Network, file, seed, fields, the loss, its weighed terms by their place among the recorded ones, the prefix of names
# there, and the bar for norms of gradients: that of the page, where the recording is in float32.
TRAINED = [
    (Recording("rru_net", "train_64x64", 3), "rru_net", {"mask": "loss"}, "", 1e-3),
    (Recording("mfcn", "train_64x64", 3, {"dropout_rate": 0.0}), "mfcn", ("mask", "edge"), "", 2e-3),
    (Recording("unet", "train_64x64", 3, batch=4), "unet", {"mask": "loss"}, "", 2e-2),
    (Recording("fcn_resnet50", "train_64x64", 3, {"dropout_rate": 0.0}, batch=4), "fcn_resnet50", None, "", 2e-2),
    (
        Recording("deeplabv3_resnet50", "train_64x64", 3, {"dropout_rate": 0.0}, batch=4),
        "deeplabv3_resnet50",
        None,
        "",
        2e-2,
    ),
    (Recording("mvss_net", "grad_64x64", 21), "mvss_net", None, "", 1e-6),
    (Recording("mvss_net", "train_64x64", 21, {"dropout_rate": 0.0}), "mvss_net", None, "", 1e-6),
    (Recording("pscc_net", "train_32x48", 14, {"crop": (32, 48)}), "pscc_net", None, "", 1e-6),
    (Recording("cat_net", "train_64x64", 23), "cat_net", None, "", 1e-6),
    (Recording("evp", "train_64x64", 3, {"dropout_rate": 0.0, "drop_path_rate": 0.0}), "evp", None, "", 1e-3),
    (Recording("trufor", "train_72x88", 13, NO_DROPS), "trufor", None, "phase2_", 1e-4),
    (
        Recording("trufor", "train_72x88", 13, NO_DROPS | {"frozen": ("dncnn", "backbone", "decode_head")}),
        "trufor_confidence",
        None,
        "phase3_",
        1e-4,
    ),
]
TOTALS = {"rru_net": "loss", "unet": "loss", "fcn_resnet50": "loss", "deeplabv3_resnet50": "loss", "evp": "loss"}


@pytest.mark.slow
@pytest.mark.parametrize(("recording", "loss", "terms", "prefix", "bar"), TRAINED, ids=name_of)
def test_a_training_step_is_the_original_s(recording, loss, terms, prefix, bar):
    recorded = recording.arrays
    found, gradients, statistics = training_step(recording, loss, train=not recording.file.startswith("grad"))
    names = recorded[f"{prefix}param_names"].tolist()
    exact = f"{prefix}grad_norms64"
    norms = recorded[exact if exact in recorded.files else f"{prefix}grad_norms"]
    floor = 1e-4 * norms.max()
    errors = {
        name: abs(np.linalg.norm(gradients[name]) - norm) / max(norm, floor)
        for name, norm in zip(names, norms, strict=True)
    }
    assert max(errors.values()) < bar, max(errors, key=errors.get)
    if loss == "mfcn":
        total, expected = [found["mask"], found["edge"]], recorded["losses_surface_edge"]
    else:
        key = next(name for name in (f"{prefix}losses64", f"{prefix}losses", f"{prefix}loss") if name in recorded.files)
        total, expected = [sum(found.values())], np.ravel(recorded[key])[:1]
    assert np.abs(np.subtract(total, expected)).max() < 5e-6
    for name in recorded.files:
        for start, end in (("running_mean/", ".running_mean"), ("running_var/", ".running_var"), ("bn/", "")):
            if name.startswith(start):
                ours = statistics[name.removeprefix(start) + end]
                assert np.abs(ours - recorded[name]).max() < 1e-6 * max(1, np.abs(recorded[name]).max()), name


def test_rru_net_s_training_step_in_float64():
    """The one that is quick; the others are slow."""
    recording = Recording("rru_net", "train_64x64", 3)
    found, gradients, _ = training_step(recording, "rru_net", True)
    recorded = recording.arrays
    assert abs(found["mask"] - recorded["loss"]) < 1e-6
    ours = to_released_layout("kernel", gradients["out.conv.weight"])
    assert np.abs(ours - recorded["grad/out.conv.weight"]).max() < 1e-4 * np.abs(recorded["grad/out.conv.weight"]).max()


CASES = ("a420", "b444", "cgray", "dprog422", "epng")


@pytest.mark.parametrize("case", CASES)
def test_cat_net_sees_what_its_authors_loader_gives(case):
    recorded = np.load(FOLDER / "cat_net/jpeg_preparation.npz")
    file = b"" if case == "epng" else recorded[f"{case}_jpeg"].tobytes()
    photo = recorded["epng_rgb"] if case == "epng" else np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
    inputs = network_inputs(photo, file, PREPROCESSING["cat_net"])
    assert (inputs["coefficients"][0] == recorded[f"{case}_coefficients"]).all()
    assert (inputs["qtables"] == recorded[f"{case}_qtable"]).all()
    assert np.abs(inputs["images"][0] - recorded[f"{case}_network_rgb"]).max() <= 2 / 127.5


def test_mvss_net_sees_bgr_and_evp_a_smoothed_square():
    photo = np.zeros((40, 60, 3), np.uint8)
    photo[..., 0] = 255
    red = network_inputs(photo, b"", PREPROCESSING["mvss_net"])["images"]
    assert red.shape == (1, 512, 512, 3)
    assert np.allclose(red[0, 0, 0], [-0.485 / 0.229, -0.456 / 0.224, (1 - 0.406) / 0.225], atol=1e-4)
    assert network_inputs(photo, b"", PREPROCESSING["evp"])["images"].shape == (1, 256, 256, 3)
    assert network_inputs(photo, b"", PREPROCESSING["trufor"])["images"].max() == 255 / 256


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """RRU-Net by formula, as its public file is: a flat state dict."""
    folder = tmp_path_factory.mktemp("released")
    write_torch(folder / "best_model.pth", Recording("rru_net", "eval_64x96", 1).weights(), "")
    photo = np.random.default_rng(0).integers(0, 256, (37, 50, 3), np.uint8)
    Image.fromarray(photo).save(folder / "photo.jpg", quality=90)
    return folder / "best_model.pth"


def test_a_released_file_predicts_and_converts(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["predict", str(checkpoint.parent / "photo.jpg"), "--checkpoint", str(checkpoint)]) == 0
        assert main(["convert", str(checkpoint), "rru.safetensors"]) == 0
        assert main(["convert", "rru.safetensors", "native"]) == 0
    assert "photo.jpg" in printed.getvalue()
    localizer, again = Localizer.load(checkpoint), Localizer.load("native")
    assert again.card.model.architecture == "rru_net"
    assert again.hash == localizer.hash
    result = again(checkpoint.parent / "photo.jpg")
    assert result.probability.shape == (37, 50)
    assert result.score == pytest.approx(result.probability.max())


def test_the_three_files_of_pscc_net_are_one_model(tmp_path):
    weights = {name: np.full(shape, 0.01, np.float32) for name, shape in keys("pscc_net").items()}
    weights |= {name: np.zeros((), np.int64) for name in weights if name.endswith("num_batches_tracked")}
    for file, prefix in (("HRNet", "FENet."), ("NLCDetection", "SegNet."), ("DetectionHead", "ClsNet.")):
        part = {f"module.{k.removeprefix(prefix)}": v for k, v in weights.items() if k.startswith(prefix)}
        write_torch(tmp_path / f"{file}.pth", part, "")
    arrays, card = read_model(tmp_path)
    assert card.model.architecture == "pscc_net"
    assert arrays.keys() == weights.keys()
    convert(arrays, card, tmp_path / "pscc.safetensors", tmp_path)
    (tmp_path / "HRNet.pth").unlink()
    with pytest.raises(ValueError, match=r"pscc_net needs one file HRNet\.pth in it, there is none"):
        read_model(tmp_path, network="pscc_net")


def test_what_cannot_be_done_is_refused(checkpoint):
    with pytest.raises(ValueError, match="precision 'float16': it must be one of 'float32', 'bfloat16'"):
        Localizer.load(checkpoint, precision="float16")
    card = ModelCard(COMPARED["vit_b_16"](), PREPROCESSING["vit_b_16"].to_json())
    with pytest.raises(ValueError, match="no decoder, and so know no manipulation"):
        ComparedLocalizer({}, card)


def test_the_table_of_models_lists_each_with_its_size():
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["models"]) == 0
    lines = printed.getvalue().splitlines()
    assert {line.split()[0] for line in lines[1:]} == set(CATALOG)
    for network, count in COUNTS.items():
        assert f"{count:,}" in next(line for line in lines if line.startswith(f"{network} "))


def test_operations_in_the_table_are_xla_s_count():
    model = create_model("unet")
    images = jax.ShapeDtypeStruct((1, 512, 512, 3), jnp.float32)
    traced = jax.jit(model.apply).trace(variable_shapes("unet"), images)
    counted = traced.lower(lowering_platforms=("tpu",)).cost_analysis()["flops"]  # without Winograd's algorithm
    assert counted / 1e9 == pytest.approx(CATALOG["unet"].operations, rel=0.01)


class CoefficientReader(ComparedLocalizer):
    """Keeps the files that it is given, as CAT-Net reads them."""

    def __init__(self):
        self.reads_files, self.batch, self.precision, self.hash = True, 1, "float32", "0" * 64
        self.card = ModelCard(COMPARED["cat_net"](), PREPROCESSING["cat_net"].to_json())
        self._how, self.given = PREPROCESSING["cat_net"], []

    def localize(self, photos, details=False, orientations=(), progress=None, files=()):
        self.given += files
        maps = [np.zeros(photo.shape[:2], np.float32) for photo in photos]
        return [Localization(photo, map_, map_, 0.0) for photo, map_ in zip(photos, maps, strict=True)]


def test_every_way_to_a_model_that_reads_files_gives_it_the_file(checkpoint, tmp_path):
    """Without it, a JPEG would be taken, silently, for a picture that never was one."""
    path, localizer = checkpoint.parent / "photo.jpg", CoefficientReader()
    localizer(path)
    work = Work(localizer)
    work.localize(decode_photo(path.read_bytes(), "photo"), lambda: True, path.read_bytes()).result.result()
    work.close()
    source = load_source(f"folder:{path.parent}")
    encoded = source.encoded(0)
    localizer_predictor(localizer, "cat", {}).predict(decode_example(encoded) | {"file": encoded.image})
    photos = find_photos([str(path)])
    runner = BatchPredictor(localizer, "cat", photos, tmp_path, tmp_path / "rows.jsonl", {}, OutputOptions(outputs=()))
    assert all("error" not in row for row in runner.run())
    assert localizer.given == [path.read_bytes()] * 4

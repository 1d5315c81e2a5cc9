"""ManTra-Net, SPAN, HP-FCN and H-LSTM against recordings of their originals, and in their own files."""

import functools
import sys

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compared_cases import Recording, as_float, keys
from flax.traverse_util import flatten_dict
from reference.models import by_formula

from pimjax.config.networks import COMPARED
from pimjax.inference import compared
from pimjax.inference.localizer import Localizer
from pimjax.inference.traces import ALIGN, TracesByTiles, _pieces
from pimjax.models import create_model
from pimjax.models.hp_fcn import derivative_filters
from pimjax.models.mantra_net import bayar_taps
from pimjax.models.released import constraint_of
from pimjax.models.resampling import laplacian, resampling_features, sinogram
from pimjax.training.compared_losses import (
    LOSSES,
    MaskTargets,
    hp_fcn_loss,
    squared_norm,
)
from pimjax.weights import from_released, to_released
from pimjax.weights.backbones import start_from
from pimjax.weights.keras_file import checkpoint_index
from pimjax.weights.load import read_model
from pimjax.weights.names.keras import without_counters
from pimjax.weights.unpickle import WeightsFileError

slow = pytest.mark.slow
# Ten times the pages' gaps between float32 and float64, 1e-4 at least; the largest names come first.
BARS = {"zscores": 2.1e-3, "logits": 8e-4, "pred": 2e-4, "lstm": 1e-4, "decision4": 5e-4} | {
    f"attention{i}": bar for i, bar in enumerate((1e-4, 1.1e-4, 3.1e-4, 6.2e-4, 1.8e-3), 1)
}
SPAN_LOGITS = {"eval_32x48": 3.5e-4, "eval_67x101": 3.5e-3}


def maps_of(recording, prefix=""):
    model = create_model(recording.network, **recording.fields)
    apply = jax.jit(lambda variables, inputs: model.apply(variables, **inputs, mutable=["features"]))
    output, state = apply(recording.variables(), recording.inputs())
    inner = {path[-1].removesuffix("_map"): value[0] for path, value in flatten_dict(state["features"]).items()}
    return {name: value for name, value in output._asdict().items() if value is not None} | inner


def error(recording, name, maps, prefix=""):
    """The largest error of a recorded map, which may hold every so manieth channel, row and column."""
    recorded, ours = recording.arrays[prefix + name], np.asarray(maps[name], np.float64)
    if (recording.network, name) == ("h_lstm", "logits"):
        ours = ours[:, ::5, ::5]
    if ours.shape[-1] != recorded.shape[-1]:
        ours = ours[..., :: ours.shape[-1] // recorded.shape[-1]]
    assert ours.shape == recorded.shape, name
    return float(np.abs(ours - recorded).max())


EVALUATED = [
    Recording("mantra_net", "eval_32x48", 1),
    pytest.param(Recording("mantra_net", "eval_67x101", 2), marks=slow),
    Recording("span", "eval_32x48", 1),
    pytest.param(Recording("span", "eval_67x101", 2), marks=slow),
    Recording("hp_fcn", "eval_32x48", 1),
    Recording("hp_fcn", "eval_75x109", 4),
    pytest.param(Recording("hp_fcn", "eval_64x96", 2), marks=slow),
]


@pytest.mark.parametrize("recording", EVALUATED, ids=lambda r: f"{r.network}-{r.file}")
def test_outputs_and_inner_maps_are_the_original_s(recording):
    maps = maps_of(recording)
    names = [name for name in recording.arrays.files if not name.startswith(("logits_", "pred_"))]
    errors = {name: error(recording, name, maps) for name in names}
    span_logits = {"logits": SPAN_LOGITS.get(recording.file)} if recording.network == "span" else {}
    bars = {name: (BARS if recording.network != "hp_fcn" else {}).get(name, 1e-4) for name in names} | span_logits
    assert not {name: value for name, value in errors.items() if value > bars[name]}


@slow
@pytest.mark.parametrize("variant", [0, 1, 3])
def test_mantra_net_s_other_files(variant):
    recording = Recording("mantra_net", "eval_67x101", 2)
    variables = from_released("mantra_net", by_formula.weights("mantra_net", 2, variant=variant), variant=variant)
    logits = jax.jit(create_model("mantra_net", variant=variant).apply)(variables, recording.inputs()["images"]).logits
    assert np.abs(logits - recording.arrays[f"logits_ptrain{variant}"]).max() < 6e-4


@slow
def test_mantra_net_as_its_pytorch_port_has_it():
    recording = Recording("mantra_net", "eval_67x101", 2)
    apply = jax.jit(create_model("mantra_net", port=True).apply)
    images = recording.inputs()["images"]
    pred = [apply(recording.variables(), images[i : i + 1]).pred for i in range(2)]
    assert np.abs(np.concatenate(pred) - recording.arrays["pred_torch_port"]).max() < 1e-4


@slow
def test_span_on_resized_traces():
    recording = Recording("span", "eval_67x101", 2, {"resize224": True})
    logits = maps_of(recording)["logits"][:1, ::2, ::2]
    assert np.abs(logits - recording.arrays["logits_resize224"]).max() < 4.4e-3


@pytest.mark.parametrize(
    ("file", "seed", "of_batch"),
    [
        ("eval_256x256", 1, False),
        pytest.param("eval_256x256", 1, True, marks=slow),
        pytest.param("eval_256x256_b", 2, True, marks=slow),
        pytest.param("eval_256x256_b", 2, False, marks=slow),
    ],
)
def test_h_lstm_by_the_batch_s_statistics_and_by_its_own(file, seed, of_batch):
    recording = HLSTMRecording("h_lstm", file, seed, {"batch_statistics": of_batch})
    maps, prefix = maps_of(recording), "batch/" if of_batch else "moving/"
    names = [name.removeprefix(prefix) for name in recording.arrays.files if name.startswith(prefix)]
    assert len(names) >= 1
    errors = {name: error(recording, name, maps, prefix) for name in names}
    assert max(errors.values()) < (2e-4 if of_batch else 1e-5), errors


class HLSTMRecording(Recording):
    size = (256, 256)


def test_resampling_features_are_the_authors():
    recorded, picture = Recording("h_lstm", "resampling_256x256", 5).arrays, by_formula.resampling_picture(5)
    patches = laplacian(picture.astype(float))
    assert np.abs(patches[recorded["patch_index"]] - recorded["laplacian"]).max() < 1e-5
    projections = sinogram(patches)[recorded["patch_index"]]
    np.testing.assert_allclose(projections, recorded["sinogram"], rtol=1e-6, atol=1e-6)
    for pixels, name in ((picture, "features"), (np.minimum(picture, 127), "features_saturated")):
        assert np.abs(resampling_features(pixels) - recorded[name]).max() < 1e-5
        on_device = jax.jit(resampling_features)(jnp.asarray(pixels, jnp.float32))
        assert np.abs(on_device - recorded[name]).max() < 1e-4
    assert (resampling_features(np.full((256, 256, 3), 9)) == -1).all()


NETWORKS = {
    "mantra_net": 3_805_078 - 128,  # its count has the statistics, too
    "span": 4_054_254,
    "hp_fcn": 7_701_077,
    "h_lstm": 2_207_652,
}


@pytest.mark.parametrize("network", NETWORKS)
def test_names_counts_and_round_trip(network):
    weights = by_formula.weights(network, 1)
    variables = from_released(network, weights)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == NETWORKS[network]
    back = to_released(network, variables)
    assert {name: array.shape for name, array in back.items()} == keys(network)
    assert all((back[name] == array).all() for name, array in weights.items())
    with pytest.raises(ValueError, match=r"1 missing: .*\n.*1 left over: something/else"):
        from_released(network, {"something/else": np.ones(2), **dict(list(weights.items())[1:])})


def step(recording, loss, targets, extra=lambda params: 0.0):
    """The loss, gradients and statistics of a training step, in float64."""
    with jax.enable_x64(True):
        model = create_model(recording.network, **recording.fields)
        weights = by_formula.weights(recording.network, recording.seed, min_std=1.0)
        found = from_released(recording.network, weights, **recording.fields)
        variables = {name: as_float(found[name], jnp.float64) for name in ("params", "batch_stats")}
        inputs = as_float(recording.inputs(), jnp.float64)

        def objective(params):
            given = {**variables, "params": params}
            output, state = model.apply(given, **inputs, train=True, mutable=["batch_stats"])
            return sum(LOSSES[loss](output, targets).values()) + extra(params), (output, state)

        compute = jax.jit(jax.value_and_grad(objective, has_aux=True))
        (value, (output, state)), gradients = compute(variables["params"])
    named = {"/".join(path): np.asarray(g) for path, g in flatten_dict(gradients).items()}
    statistics = {"/".join(path): np.asarray(s) for path, s in flatten_dict(state.get("batch_stats", {})).items()}
    return float(value), named, statistics, jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), output)


def check_gradients(recorded, gradients, bar, floor):
    norms = dict(zip(recorded["param_names"].tolist(), recorded["grad_norms"], strict=True))
    errors = {name: abs(np.linalg.norm(gradients[name]) - norm) / max(norm, floor) for name, norm in norms.items()}
    assert max(errors.values()) < bar, max(errors, key=errors.get)
    for name in recorded.files:
        if name.startswith("grad/"):
            ours, theirs = gradients[name.removeprefix("grad/")], recorded[name]
            assert np.abs(ours - theirs).max() < max(10 * bar * np.abs(theirs).max(), floor), name


@slow
@pytest.mark.parametrize(("network", "bar"), [("mantra_net", 1e-5), ("span", 6.5e-4)])
def test_a_training_step_of_the_trace_networks(network, bar):
    recording = Recording(network, "train_32x48", 3)
    mask = by_formula.target(network, 3, 2, 32, 48)["mask"][..., 0]
    value, gradients, _, output = step(recording, network, MaskTargets(mask))
    recorded = recording.arrays
    assert abs(value - recorded["loss"]) < 1e-6
    assert np.abs(output.pred - recorded["pred"]).max() < 1e-4
    check_gradients(recorded, gradients, bar, 1e-6)


@slow
def test_a_training_step_of_hp_fcn():
    recording = Recording("hp_fcn", "train_64x64", 3)
    mask = by_formula.target("hp_fcn", 3, 2, 64, 64)["mask"]
    value, gradients, statistics, output = step(recording, "hp_fcn", MaskTargets(mask), squared_norm)
    recorded = recording.arrays
    focal = float(LOSSES["hp_fcn"](output, MaskTargets(mask))["mask"])
    np.testing.assert_allclose([value, focal, value - focal], recorded["losses"], atol=3e-6)
    alternatives = [hp_fcn_loss(output, MaskTargets(mask), kind)["mask"] for kind in ("cross_entropy", "balanced")]
    np.testing.assert_allclose(alternatives, recorded["loss_alternatives"], atol=3e-6)
    # Recorded in float32, whose logits are 4e-5 off there: ReLUs near 0 decide otherwise.
    check_gradients(recorded, gradients, 5e-3, 1e-3)
    assert not any(np.any(gradients[name]) for name in recorded["no_gradient"].tolist())
    for name in recorded.files:
        if name.startswith("after/"):
            assert np.abs(statistics[name.removeprefix("after/")] - recorded[name]).max() < 5e-6


@slow
def test_a_training_step_of_h_lstm():
    recording = HLSTMRecording("h_lstm", "train_256x256", 3, {"dropout_rate": 0.0})
    mask = by_formula.target("h_lstm", 3, 2, 256, 256)["mask"]
    value, gradients, _, output = step(recording, "h_lstm", MaskTargets(mask))
    recorded = recording.arrays
    assert abs(value - recorded["loss"]) < 1e-6
    assert np.abs(output.logits[:, ::5, ::5] - recorded["logits"]).max() < 1e-5
    check_gradients(recorded, gradients, 1e-4, 1e-6)


def keras_file(path, network, weights):
    """As the pages say that Keras 2 lays files out: groups, counters, weights of frozen layers last, two GPUs."""
    groups = {}
    for name, array in weights.items():
        layer, _, rest = name.partition("/")
        groups.setdefault(layer, []).append((rest, array))
    with h5py.File(path, "w") as file:
        top = file
        if network == "span":
            file.attrs["layer_names"] = [b"input_1", b"lambda_1", b"sigNet"]
            for empty in ("input_1", "lambda_1"):
                file.create_group(empty).attrs["weight_names"] = []
            top = file.create_group("sigNet")
        names = []
        for layer, entries in sorted(groups.items(), reverse=True):
            number = f"pixel_attention_{int(layer[-1]) + 11}" if layer.startswith("pixel") else layer
            if layer == "Featex":
                inner = [(f"{rest.replace('/', '_1/', 1)}:0", array) for rest, array in entries]
            else:
                inner = [(f"{number}/{rest}:0", array) for rest, array in entries]
            group = top if network == "span" else top.create_group(layer)
            if network == "span" and layer == "Featex":
                inner = [(f"Featex/{name}", array) for name, array in inner]
            for name, array in inner:
                group.create_dataset(name, data=array)
            if network != "span":
                group.attrs["weight_names"] = [name.encode() for name, _ in inner]
            names += [name for name, _ in inner]
        if network == "span":
            top.attrs["weight_names"] = [name.encode() for name in names]
        else:
            empty = ("img_in", "nestedAvgFeatex", "expTime", "divStd")
            for layer in empty:
                top.create_group(layer).attrs["weight_names"] = []
            file.attrs["layer_names"] = [layer.encode() for layer in (*empty, *groups)]


@pytest.mark.parametrize(
    ("network", "name", "fields"),
    [
        ("mantra_net", "ManTraNet_Ptrain4.h5", {}),
        ("mantra_net", "ManTraNet_Ptrain0.h5", {"variant": 0}),
        ("span", "PixelAttention32.h5", {}),
    ],
)
def test_a_file_of_keras_is_recognized_and_every_array_is_read(network, name, fields, tmp_path):
    weights = by_formula.weights(network, 1, **fields)
    keras_file(tmp_path / name, network, weights)
    arrays, card = read_model(tmp_path / name)
    assert card.model == COMPARED[network](**fields)
    again = to_released(network, from_released(network, tmp_path / name, **fields), **fields)
    assert again.keys() == weights.keys()
    assert all((again[entry] == array).all() for entry, array in weights.items())
    assert len(arrays) == len(weights)


def test_what_keras_files_do_not_tell_or_tell_twice_is_refused(tmp_path, monkeypatch):
    keras_file(tmp_path / "best.h5", "mantra_net", by_formula.weights("mantra_net", 1, variant=1))
    with pytest.raises(ValueError, match="call it ManTraNet_Ptrain1"):
        read_model(tmp_path / "best.h5")
    with pytest.raises(ValueError, match="Featex/b1c2/bias is there twice"):
        without_counters({"Featex/b1c2/bias": 0, "Featex/b1c2_1/bias": 0})
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["x"] = np.ones(3)
    with pytest.raises(WeightsFileError, match="no weights of Keras in it"):
        read_model(tmp_path / "data.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(WeightsFileError, match=r"pip install 'pimjax\[keras\]'"):
        read_model(tmp_path / "best.h5")


def test_the_port_s_file_is_mantra_net_with_other_rules():
    own = by_formula.weights("mantra_net", 1)
    turn = functools.partial(np.transpose, axes=(3, 2, 0, 1))
    layers = [name.split("/")[1] for name in own if name.startswith("Featex/") and name.endswith("bias")]
    port = {"IMTFE.init_conv.weight": turn(own["Featex/b1c1/regular_kernel"])}
    port |= {"IMTFE.BayarConv2D.weight": turn(own["Featex/b1c1/bayar_kernel"]), "IMTFE.SRMConv2D.weight": np.zeros(9)}
    for i, layer in enumerate(layers):
        port[f"IMTFE.middle_and_last_block.{2 * i}.weight"] = turn(own[f"Featex/{layer}/kernel"])
        port[f"IMTFE.middle_and_last_block.{2 * i}.bias"] = own[f"Featex/{layer}/bias"]
    head = "AnomalyDetector."
    joined = np.concatenate([own["cLSTM/kernel"], own["cLSTM/recurrent_kernel"]], 2)
    port |= {f"{head}adaptation.weight": turn(own["outlierTrans/kernel"]), f"{head}end.0.bias": own["pred/bias"]}
    port |= {
        f"{head}sigma_F": own["glbStd/min_std"].reshape(1, 64, 1, 1),
        f"{head}end.0.weight": turn(own["pred/kernel"]),
    }
    cell = f"{head}conv_lstm.cell_list.0.conv"
    port |= {f"{cell}.weight": turn(joined), f"{cell}.bias": own["cLSTM/bias"]}
    for prefix in ("", "model."):
        found = from_released("mantra_net", {prefix + name: array for name, array in port.items()}, port=True)
        params = flatten_dict(found["params"], sep="/")
        assert all((params[name] == array).all() for name, array in own.items() if name in params)
        assert len(params) == 33


@slow
@pytest.mark.parametrize("network", ["hp_fcn", "h_lstm"])
def test_a_checkpoint_of_tensorflow_is_read_without_its_slots(network, tmp_path):
    tensorflow = pytest.importorskip("tensorflow")
    v1, weights = tensorflow.compat.v1, by_formula.weights(network, 1)
    with tensorflow.Graph().as_default(), v1.Session() as session:
        for name, array in weights.items():
            v1.get_variable(name, initializer=array)
            v1.get_variable(f"{name}/Adam", initializer=np.zeros_like(array))
        v1.get_variable("global_step", initializer=np.int64(7))
        v1.get_variable("beta1_power", initializer=np.float32(0.9))
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(tmp_path / "model.ckpt"))
    arrays, card = read_model(tmp_path / "model.ckpt")
    assert card.model.architecture == network
    again = to_released(network, from_released(network, arrays))
    assert all((again[entry] == array).all() for entry, array in weights.items())
    assert arrays.keys() == weights.keys()


def test_a_checkpoint_is_named_without_its_endings(tmp_path, monkeypatch):
    (tmp_path / "model.ckpt.index").write_bytes(b"index")
    assert checkpoint_index(tmp_path / "model.ckpt") == tmp_path / "model.ckpt.index"
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(WeightsFileError, match="pip install tensorflow"):
        read_model(tmp_path / "model.ckpt")


def test_span_starts_from_mantra_net_s_extractor():
    config = COMPARED["span"]()
    fresh = from_released("span", by_formula.weights("span", 1))
    fresh = {name: fresh[name] for name in ("params", "batch_stats")}
    theirs = by_formula.weights("mantra_net", 2)
    counted = {name.replace("b1c2/", "b1c2_1/"): array for name, array in theirs.items()}
    started = start_from(fresh, counted, config, "file")
    assert started.taken == 26
    assert (started.variables["params"]["Featex"]["b1c2"]["kernel"] == theirs["Featex/b1c2/kernel"]).all()


def test_parameters_are_constrained_after_an_update():
    rng = np.random.default_rng(0)
    params = from_released("mantra_net", by_formula.weights("mantra_net", 1))["params"]
    moved = jax.tree.map(lambda leaf: leaf + rng.normal(0, 0.1, leaf.shape).astype(np.float32), params)
    held = constraint_of("mantra_net")(moved)
    taps = held["Featex"]["b1c1"]["bayar_kernel"]
    np.testing.assert_allclose(taps.sum((0, 1)), 0, atol=1e-5)
    np.testing.assert_array_equal(taps[2, 2], -1)
    np.testing.assert_allclose(np.linalg.norm(held["outlierTrans"]["kernel"], axis=2), 1, rtol=1e-5)
    assert held["glbStd"]["min_std"].min() == 0 > moved["glbStd"]["min_std"].min()
    np.testing.assert_array_equal(held["pred"]["kernel"], moved["pred"]["kernel"])
    np.testing.assert_allclose(bayar_taps(taps), taps, atol=1e-6)
    assert constraint_of("unet") is None


@pytest.mark.parametrize(("order", "power"), [("first", 1), ("second", 2), ("third", 3), ("fourth", 4)])
def test_high_pass_filters_are_derivatives(order, power):
    """Of order n: they annul polynomials below n, and turn x^n into n!."""
    filters = derivative_filters(order)
    side = filters.shape[1]
    y, x = np.mgrid[:side, :side] - side // 2
    for kernel, along in zip(filters, (y, x, (x + y) / 2), strict=True):
        for k in range(power):
            assert np.abs((kernel[:, :, 0, 0] * along**k).sum()) < 1e-5
        assert (kernel[:, :, 0, 0] * along**power).sum() == pytest.approx(np.prod(np.arange(1, power + 1)))
        np.testing.assert_array_equal(kernel[:, :, 0], kernel[:, :, 2])


def test_h_lstm_takes_one_size_alone(tmp_path):
    with pytest.raises(ValueError, match="64×64 pixels: h_lstm takes 256×256 alone"):
        create_model("h_lstm").apply({}, np.zeros((1, 64, 64, 3)), np.zeros((1, 64, 240)))
    np.savez(tmp_path / "h_lstm.npz", **by_formula.weights("h_lstm", 1))
    localizer = Localizer.load(tmp_path / "h_lstm.npz")
    photo = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    assert localizer(photo).probability.shape == (60, 90)


@pytest.mark.parametrize("n", [1, 5, 29, 40, 41, 100, 1000, 1013])
@pytest.mark.parametrize(("reach", "tile"), [(0, 10), (3, 10), (14, 40), (14, 1)])
def test_pieces_cover_all_and_see_what_they_need(n, reach, tile):
    decided = np.zeros(n, int)
    pieces = _pieces(n, reach, tile)
    assert len({length for _, length, _ in pieces}) == 1
    for start, length, places in pieces:
        assert start >= 0 and start + length <= n
        assert start % ALIGN == 0
        assert places.start == 0 or places.start - start >= reach
        assert places.stop == n or start + length - places.stop >= reach
        decided[places] += 1
    assert decided.min() >= 1


@pytest.mark.parametrize(
    ("network", "size", "fields"),
    [
        ("mantra_net", (131, 150), {}),
        pytest.param("mantra_net", (131, 150), {"port": True}, marks=slow),
        pytest.param("mantra_net", (140, 210), {"variant": 1}, marks=slow),
        pytest.param("span", (40, 420), {}, marks=slow),
        pytest.param("span", (150, 120), {"resize224": True}, marks=slow),
    ],
)
def test_tiles_make_the_same_map_as_the_whole_photo(network, size, fields):
    difference, deviation = tiled_against_whole(network, size, fields, np.float32)
    assert difference < 1e-5
    assert deviation > 0.01


@slow
@pytest.mark.parametrize(("size", "fields"), [((40, 420), {}), ((150, 120), {"resize224": True})])
def test_tiles_of_span_differ_by_rounding_alone(size, fields):
    """SPAN with these weights magnifies what float32 rounds off; in float64 a wrong place would be seen."""
    with jax.enable_x64(True):
        difference, deviation = tiled_against_whole("span", size, fields, np.float64)
    assert difference < 1e-9
    assert deviation > 0.01


def tiled_against_whole(network, size, fields, dtype):
    """The largest difference between the map by tiles and the map of the whole photo, and its deviation."""
    weights = by_formula.weights(network, 1, variant=fields.get("variant", 4))
    found = from_released(network, weights, **fields)
    variables = {
        name: jax.tree.map(lambda array: np.asarray(array, dtype), found[name]) for name in ("params", "batch_stats")
    }
    model = create_model(network, **fields)
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.normal(0, 0.3, (1, -(-size[0] // 8), -(-size[1] // 8), 3)), np.ones((1, 8, 8, 1)))
    images = smooth[:, : size[0], : size[1]] + rng.normal(0, 0.1, (1, *size, 3))
    images = np.clip(images, -1, 1).astype(dtype)
    whole = np.asarray(jax.jit(model.apply)(variables, images).probability)
    assert whole.dtype == dtype
    return np.abs(TracesByTiles(model, tile=37)(variables, images) - whole).max(), np.std(whole)


def test_a_large_photo_goes_by_tiles(tmp_path, monkeypatch):
    monkeypatch.setattr(compared, "TILE", 16)
    np.savez(tmp_path / "ManTraNet_Ptrain4.npz", **by_formula.weights("mantra_net", 1))
    localizer = Localizer.load(tmp_path / "ManTraNet_Ptrain4.npz")
    photo, calls = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8), []
    result = localizer(photo)
    monkeypatch.setattr(localizer, "_by_tiles", lambda variables, images: calls.append(images) or np.ones((1, 20, 30)))
    assert localizer(photo).score == 1
    assert [images.shape for images in calls] == [(1, 20, 30, 3)]
    assert result.score == pytest.approx(result.map.max())

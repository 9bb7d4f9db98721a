"""bfloat16: what a compiled graph is spared from rounding, what is rounded once, and that nothing else changes."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import graft.model.openvino as compiled
import graft.model.probes as probes
from graft.build import build, find
from graft.core.nouns import Form
from graft.model.cuts import first
from graft.model.halves import cancelling, rounded, unbiased, unbiased_keys, whole_pixels
from graft.model.intel import openvino
from graft.model.modes import evaluating, precision, roundable, standing_in
from graft.model.network import Affine
from graft.model.prefix import reached
from graft.model.probes import centred_cosine, choose_graph


class Scaled(nn.Module):
    """Photos brought to mean 0 and deviation 1, and a layer."""

    def __init__(self, padding: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.last = nn.Conv2d(3, 8, 3, padding=padding, stride=2), nn.Linear(8, 4)
        mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
        self.scale = Affine(1 / (255 * deviation), -mean / deviation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.layer(self.scale(x))
        return self.last(maps.relu().movedim(1, -1))


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, 9, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def graph(network: nn.Module, x: torch.Tensor, place) -> object:
    """As it is read from the home, where scale and shift have become one product and one sum."""
    package = openvino()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch's own, of how it is traced
        traced = torch.jit.trace(network.eval(), x)
        model = package.convert_model(traced, example_input=x, input=[list(x.shape)])
    package.save_model(model, place / "net.xml", compress_to_fp16=False)
    return package.Core().read_model(place / "net.xml")


def said(model: object, x: torch.Tensor, dtype: str = "f32") -> np.ndarray:
    return openvino().Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": dtype})([x.numpy()])[0]


def lost(network: nn.Module, x: torch.Tensor, place, spare) -> list[float]:
    """How far bfloat16 turns features, as it is and with something spared."""
    exact, found = torch.from_numpy(said(graph(network, x, place), x).copy()), []
    for each in (lambda model: None, spare):
        model = graph(network, x, place)
        each(model)
        found.append(1 - centred_cosine(exact, torch.from_numpy(said(model, x, "bf16").copy())))
    return found


def kinds(model) -> list[str]:
    return [node.get_type_name() for node in model.get_ordered_ops()]


def test_rounded_as_torch_rounds() -> None:
    some = np.random.default_rng(0).standard_normal(10_000).astype(np.float32) * np.float32(3e4)
    ties = (np.arange(-512, 512, dtype=np.float32) + 256.5) / 256  # half-way between two numbers of bfloat16
    for values in (some, ties, np.array([0.0, -0.0, 1e-38, np.inf], np.float32)):
        np.testing.assert_array_equal(rounded(values), torch.from_numpy(values).bfloat16().float().numpy())


@pytest.mark.parametrize("padding", [0, 1])
def test_pixels_reach_the_first_layer_whole(pixels, tmp_path, padding) -> None:
    model = graph(Scaled(padding), pixels, tmp_path)
    before = said(model, pixels)
    assert "Multiply" in kinds(model)
    whole_pixels(model)
    assert "Multiply" not in kinds(model)
    np.testing.assert_allclose(said(model, pixels), before, atol=1e-5)  # at the edges, too


def test_what_no_scale_precedes_stays(pixels, tmp_path) -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)

    x = pixels.float()
    model = graph(Bare(), x, tmp_path)
    before, names = said(model, x), kinds(model)
    whole_pixels(model)
    assert kinds(model) == names
    np.testing.assert_array_equal(said(model, x), before)


@pytest.mark.parametrize(("shape", "outputs"), [((8, 3, 3, 3), 1), ((6, 512), 1), ((4, 2, 1, 5, 5), 2), ((3, 67), 1)])
def test_errors_of_rounded_weights_cancel(shape, outputs) -> None:
    weights = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    weights.flags.writeable = False  # as those of a graph
    near = cancelling(weights, outputs)
    np.testing.assert_array_equal(rounded(near), near)  # bfloat16 holds them
    step = 2.0 ** np.floor(np.log2(np.abs(weights).max())) / 128  # of the largest ones
    assert np.abs(near - weights).max() <= step
    lines, kept = (values.reshape(*shape[:outputs], -1) for values in (weights, near))
    pieces = -(-lines.shape[-1] // 64)
    assert np.abs((kept - lines).sum(-1)).max() <= pieces * step / 2 * 1.001  # and no more, however many weights
    assert np.abs((kept - lines).sum(-1)).mean() < 0.5 * np.abs((rounded(lines) - lines).sum(-1)).mean()


def test_rounded_layers_give_nearly_what_they_gave(pixels, tmp_path) -> None:
    model = graph(Scaled(1), pixels, tmp_path)
    before = said(model, pixels)
    unbiased(model)
    np.testing.assert_allclose(said(model, pixels), before, atol=0.01 * np.abs(before).max())
    layers = [node for node in model.get_ordered_ops() if node.get_type_name() in ("Convolution", "MatMul")]
    weights = [np.array(layer.input_value(1).get_node().data) for layer in layers]
    assert len(weights) == 2
    assert all((rounded(one) == one).all() for one in weights)


@pytest.mark.parametrize("turned", [False, True])
def test_errors_cancel_along_the_inputs_whichever_axis_they_are(pixels, tmp_path, turned) -> None:
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.weight = nn.Parameter(torch.randn(6, 243) if turned else torch.randn(243, 6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(x.flatten(1), self.weight) if turned else x.flatten(1) @ self.weight

    network, x = Product(), pixels.float()
    model = graph(network, x, tmp_path)
    unbiased(model)
    (layer,) = (node for node in model.get_ordered_ops() if node.get_type_name() == "MatMul")
    assert layer.get_attributes()["transpose_b"]
    near, exact = np.array(layer.input_value(1).get_node().data), network.weight.detach().numpy()
    exact = exact if turned else exact.T
    np.testing.assert_array_equal(rounded(near), near)
    assert np.abs((near - exact).sum(1)).mean() < 0.5 * np.abs((rounded(exact) - exact).sum(1)).mean()


class Block(nn.Module):
    """A part of a transformer: what a layer says of normed tokens is scaled and added to the tokens."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.layer, self.scale = nn.LayerNorm(96), nn.Linear(96, 96), nn.Parameter(torch.randn(96))
        self.last = nn.Linear(96, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x + self.layer(self.norm(x)) * self.scale)


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randn(2, 5, 96, generator=torch.Generator().manual_seed(3))


def test_a_matrix_is_rounded_with_the_scale_behind_it(tokens, tmp_path) -> None:
    block = Block()
    model = graph(block, tokens, tmp_path)
    before, scales = said(model, tokens), kinds(model).count("Multiply")
    unbiased(model)
    assert kinds(model).count("Multiply") == scales - 1
    (layer,) = (
        node for node in model.get_ordered_ops() if node.get_friendly_name().endswith("layer/aten::linear/MatMul")
    )
    exact = (block.layer.weight * block.scale[:, None]).detach().numpy()
    np.testing.assert_array_equal(layer.input_value(1).get_node().data, cancelling(exact))
    assert [taker.get_node().get_type_name() for taker in layer.output(0).get_target_inputs()] == ["Clamp"]
    np.testing.assert_allclose(said(model, tokens), before, atol=0.01 * np.abs(before).max())


class Attention(nn.Module):
    """Two heads whose queries, keys and values come out of one layer, or of one each; keys have a large bias."""

    def __init__(self, one: bool, shown: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([nn.Linear(96, 3 * 96)] if one else [nn.Linear(96, 96) for _ in range(3)])
        self.last, self.shown = nn.Linear(96, 8), shown
        keys = self.layers[0].bias[96:192] if one else self.layers[1].bias
        with torch.no_grad():
            keys += 20

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(self.layers) == 1:
            q, k, v = self.layers[0](x).reshape(len(x), -1, 3, 2, 48).permute(2, 0, 3, 1, 4).unbind(0)
        else:
            q, k, v = (layer(x).view(len(x), -1, 2, 48).transpose(1, 2) for layer in self.layers)
        said = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.last((said + k if self.shown else said).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("one", [True, False])
def test_keys_need_no_bias(tokens, tmp_path, one) -> None:
    network = Attention(one)
    model = graph(network, tokens, tmp_path)
    before = said(model, tokens)
    unbiased_keys(model)
    np.testing.assert_allclose(said(model, tokens), before, atol=1e-5)
    layers = [node for node in model.get_ordered_ops() if node.get_friendly_name().endswith("linear/Add")]
    kept = sorted((np.array(node.input_value(1).get_node().data).ravel() for node in layers), key=lambda each: each[0])
    exact = np.concatenate([layer.bias.detach().numpy() for layer in network.layers])
    assert len(kept) == len(network.layers) + 1  # and the last one
    found = np.concatenate(kept)
    assert (found == 0).sum() == 96
    assert set(found[found != 0]) == {*exact[:96], *exact[192:], *network.last.bias.detach().numpy()}


@pytest.mark.parametrize("one", [True, False])
def test_keys_that_something_else_reads_keep_their_bias(tokens, tmp_path, one) -> None:
    model = graph(Attention(one, shown=True), tokens, tmp_path)
    before, names = said(model, tokens), kinds(model)
    unbiased_keys(model)
    assert kinds(model) == names
    np.testing.assert_array_equal(said(model, tokens), before)


@pytest.mark.skipif("bfloat16" not in compiled.dtypes(), reason="this processor has no bfloat16 for OpenVINO")
def test_less_is_lost_of_keys_without_their_bias(tmp_path) -> None:
    network, tokens = Attention(one=True), 4 * torch.randn(32, 5, 96, generator=torch.Generator().manual_seed(3))
    plain, spared = lost(network, tokens, tmp_path, unbiased_keys)
    assert plain > 2 * spared


@pytest.mark.skipif("bfloat16" not in compiled.dtypes(), reason="this processor has no bfloat16 for OpenVINO")
def test_norms_run_in_float32(tokens, tmp_path, tiny_home) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = Block(), nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(x))

    package, network = openvino(), Two()
    kept = compiled._read(package, network, {"second": "two"}, {"x": tokens}, "second")
    ran = []
    for model in (graph(network, tokens, tmp_path), kept):
        whole = package.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
        steps = [step.get_rt_info() for step in whole.get_runtime_model().get_ordered_ops()]
        ran.append({step["runtimePrecision"] for step in steps if step["layerType"] == "MVN"})
    assert "bf16" in ran[0]  # by itself it rounds what enters one
    assert ran[1] == {"f32"}


@pytest.mark.skipif("bfloat16" not in compiled.dtypes(), reason="this processor has no bfloat16 for OpenVINO")
def test_biases_are_not_rounded(pixels, tmp_path) -> None:
    layer = nn.Conv2d(3, 4, 3)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(torch.tensor([1.001, -3.003, 0.1, 777.7]))
    model, bias = graph(layer, pixels.float(), tmp_path), layer.bias.detach().numpy()
    np.testing.assert_array_equal(said(model, pixels.float(), "bf16")[0, :, 0, 0], rounded(bias))  # by itself it does
    unbiased(model)
    np.testing.assert_array_equal(said(model, pixels.float(), "bf16")[0, :, 0, 0], bias)


@pytest.mark.skipif("bfloat16" not in compiled.dtypes(), reason="this processor has no bfloat16 for OpenVINO")
def test_less_is_lost_in_bfloat16(pixels, tmp_path) -> None:
    """Of pictures in one colour each, all pixels of which are rounded alike."""
    colours = torch.randint(0, 256, (32, 3, 1, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    flat = colours.repeat(1, 1, 9, 9)
    plain, spared = lost(Scaled(1), flat, tmp_path, whole_pixels)
    assert plain > 2 * spared


@pytest.mark.skipif("bfloat16" not in compiled.dtypes(), reason="this processor has no bfloat16 for OpenVINO")
def test_less_is_lost_of_pictures_that_look_alike(tmp_path) -> None:
    torch.manual_seed(0)
    layers = [(nn.Conv2d(3 if at == 0 else 64, 64, 3, padding=1), nn.ReLU()) for at in range(6)]
    network = nn.Sequential(*(one for pair in layers for one in pair), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for conv, _ in layers:
        nn.init.kaiming_normal_(conv.weight)
        nn.init.normal_(conv.bias, std=0.5)
    alike = torch.randn(1, 3, 16, 16) + 0.2 * torch.randn(32, 3, 16, 16)
    plain, spared = lost(network, alike, tmp_path, unbiased)
    assert plain > 2 * spared


def test_a_graph_gives_the_mean_over_positions_where_that_is_asked_for(tiny_home) -> None:
    chain = build(find("tiny/shapes"), "classification", 3)[0]
    x = {"x": torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))}
    names = [cut.name for cut in chain.stages]
    for form in (Form(batch=8), Form("openvino", batch=8)):
        prefix = chain.split(len(chain.stages), form)[0]
        maps, means = (prefix.capture(x, chain.stages, pool) for pool in ((), names))
        for name in names:
            plain = maps[name].flatten(2).mean(2) if maps[name].ndim > 2 else maps[name]
            assert means[name].shape == plain.shape
            torch.testing.assert_close(means[name], plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("enough", "tried"), [(1e9, 1), (0.0, 2)])
def test_coarser_numbers_are_tried_first(tiny_home, monkeypatch, enough, tried) -> None:
    chain = build(find("tiny/shapes"), "classification", 3)[0]
    x = {"x": torch.randn(32, 3, 32, 32, generator=torch.Generator().manual_seed(0))}
    made, whole = list[str](), compiled.compiled
    monkeypatch.setattr(compiled, "dtypes", lambda: tuple(compiled.PRECISION))
    monkeypatch.setattr(compiled, "compiled", lambda *args: (made.append(args[-1]), whole(*args))[1])
    monkeypatch.setattr(probes, "FAITHFUL", 0.0)
    monkeypatch.setattr(probes, "FASTER", 1e9)
    monkeypatch.setattr(probes, "ENOUGH", enough)
    choose_graph(chain, x, Form())
    # With all stages' outputs, and with the last one's alone.
    assert made == ["bfloat16", "bfloat16", "float32", "float32"][: 2 * tried]


@pytest.mark.parametrize("name", ["shapes", "phrases", "noise"])
def test_weights_rounded_once_give_what_autocast_gives(tiny_home, name) -> None:
    backbone = find(f"tiny/{name}")
    chain = build(backbone, "classification", 3)[0]
    prefix, kept = chain.split(len(chain.stages), Form(dtype="bfloat16"))[0], chain.network.state_dict()
    before = {key: value.clone() for key, value in kept.items()}
    cuts = [cut.name for cut in chain.stages]
    found = prefix.capture(chain.example, chain.stages)
    with torch.no_grad(), evaluating(chain.network), precision("bfloat16", "cpu"):
        plain = reached(chain.network, cuts, chain.example, lambda _, output: first(output).float().clone())
    assert all(torch.equal(found[cut], plain[cut]) for cut in cuts)
    after = chain.network.state_dict()
    assert all(torch.equal(after[key], value) and after[key].dtype == value.dtype for key, value in before.items())


def test_weights_that_others_read_stay_as_they_are() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.first, self.last = nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 5, bias=False)
            self.last.weight = self.words.weight
            self.norm = nn.LayerNorm(4)

    network = Tied()
    assert {id(one) for one in roundable(network)} == {id(one) for one in network.first.parameters()}
    own = network.first.weight.data

    def fail() -> None:
        with standing_in([(network.first.weight, own.bfloat16())]):
            raise KeyError(network.first.weight.dtype)

    with pytest.raises(KeyError, match="bfloat16"):
        fail()
    assert network.first.weight.data_ptr() == own.data_ptr()

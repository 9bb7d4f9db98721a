"""A frozen prefix as a compiled graph: the same features, traced once, and only where a probe finds it worth while."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import graft
import graft.model.openvino as compiled
import graft.model.probes as probes
import graft.speed as speed
from graft.adapt import logits
from graft.build import build, examples, find, form_here
from graft.core import home
from graft.core.errors import PlanError
from graft.core.nouns import Form
from graft.features import features
from graft.model.prefix import Asked, reached
from graft.model.probes import centred_cosine, choose_graph

GRAPH = Form(runtime="openvino")


@pytest.fixture
def chain(tiny_home):
    return build(find("tiny/shapes"), "classification", 3)[0]


@pytest.fixture
def x() -> dict[str, torch.Tensor]:
    return {"x": torch.randn(40, 3, 32, 32, generator=torch.Generator().manual_seed(0))}


@pytest.fixture
def traces(monkeypatch) -> list[int]:
    """One entry for every network that is traced."""
    made, traced = list[int](), compiled._traced
    monkeypatch.setattr(compiled, "_traced", lambda *args: (made.append(1), traced(*args))[1])
    return made


def test_every_stage_gives_the_same_and_rows_do_not_hang_on_their_neighbours(chain, x) -> None:
    last = len(chain.stages)
    eager, graph = (chain.split(last, form)[0].run(x, chain.stages) for form in (Form(), GRAPH))
    for cut in chain.stages:
        one, other = eager[cut.name], graph[cut.name]
        assert one.shape == other.shape == (40, *cut.shape)
        assert float((one - other).abs().max() / one.std()) < 1e-4
        assert centred_cosine(one, other) > 0.999999
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    again = chain.split(last, GRAPH)[0].run({"x": x["x"][order]}, chain.stages)
    assert all(torch.equal(graph[cut.name][order], again[cut.name]) for cut in chain.stages)


def test_a_stage_that_the_next_one_works_in_place_on_is_given_as_it_was(tiny_home) -> None:
    """As in VGG, where a ReLU writes over what the convolution before it gave."""

    class Overwritten(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second, self.last = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.second(self.first(x)))

    network, x = Overwritten(), {"x": torch.randn(8, 3, 9, 9, generator=torch.Generator().manual_seed(0))}
    names = ["first", "second", "last"]
    with torch.no_grad():
        exact = reached(network, names, x, lambda _, output: output.clone())
    asked = [Asked(name, 0, False) for name in names]
    found = compiled.compiled(network, {name: name for name in names}, x, asked, "float32")(x)
    assert float(exact["first"].min()) < 0
    for name in names:
        torch.testing.assert_close(found[name], exact[name], rtol=1e-4, atol=1e-5)


def test_a_network_is_traced_once_also_when_what_comes_behind_has_learned(chain, x, traces) -> None:
    home.clear("graphs")
    before = chain.split(2, GRAPH)[0].run(x)
    chain.split(len(chain.stages), GRAPH)[0].run(x)
    with torch.no_grad():
        for name in chain.stage_parameters(len(chain.stages) - 1):
            chain.network.get_parameter(name).mul_(2)
    after = chain.split(2, GRAPH)[0].run(x)
    assert len(traces) == 1
    assert all(torch.equal(before[name], after[name]) for name in before)
    with torch.no_grad():
        for name in chain.stage_parameters(0):
            chain.network.get_parameter(name).mul_(1.1)
    changed = chain.split(2, GRAPH)[0].run(x)
    assert len(traces) == 2
    assert not any(torch.equal(before[name], changed[name]) for name in before)


def test_features_of_another_form_have_another_name(chain) -> None:
    names = {chain.split(2, form)[0].id for form in (Form(), GRAPH, replace(GRAPH, dtype="bfloat16"))}
    assert len(names) == 3


@pytest.mark.parametrize("runtime", ["eager", "openvino"])
def test_what_ran_in_bfloat16_is_kept_in_half_of_the_bytes(chain, tiny_home, photos, runtime) -> None:
    """Stored, streamed and computed anew, rows are the same to the bit, and off by 1/256 of float32's at most."""
    if runtime == "openvino" and "bfloat16" not in compiled.dtypes():
        pytest.skip("this processor has no bfloat16 for OpenVINO")
    task = graft.load(photos)
    data, rows = examples(task, task.train, find("tiny/shapes")), np.arange(20)
    form, cut = Form(runtime, "bfloat16", batch=20), chain.stages[1]
    prefix, plain = chain.split(2, form)[0], 0 * rows
    stored, streamed = features(prefix, data), features(prefix, data, stored=False)
    kept = stored.map(stored.read(rows, plain))["h"]
    assert kept.dtype == torch.float32
    assert torch.equal(kept, streamed.map(streamed.read(rows, plain))["h"])
    raw = prefix.capture({"x": data.map(data.read(rows, plain))["x"]}, [cut])[cut.name]
    assert ((kept - raw).abs() <= raw.abs() / 256).all()
    assert stored.store.rows(data.keys(rows, plain)).nbytes == kept.nbytes // 2
    last = chain.split(len(chain.stages), form)[0]
    assert features(last, data).store.rows(data.keys(rows, plain)).dtype == np.float32  # what the head reads


@pytest.mark.parametrize(
    ("faster", "faithful", "runtime"), [(1e9, 0.999, "openvino"), (0.0, 0.999, "eager"), (1e9, 1.1, "eager")]
)
def test_a_graph_is_taken_where_it_is_faster_and_faithful(chain, x, monkeypatch, faster, faithful, runtime) -> None:
    monkeypatch.setattr(probes, "FASTER", faster)
    monkeypatch.setattr(probes, "FAITHFUL", faithful)
    form, share = choose_graph(chain, x, Form())
    assert form.runtime == runtime
    assert share == 1.0 if runtime == "eager" else share > 0


def test_without_openvino_there_is_no_graph(chain, x, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    compiled.dtypes.cache_clear()
    assert choose_graph(chain, x, Form()) == (Form(), 1.0)
    assert form_here(GRAPH) == Form()  # a run that was made with one goes on without
    with pytest.raises(PlanError, match="pip install openvino"):
        chain.split(2, GRAPH)[0].run(x)
    compiled.dtypes.cache_clear()


@pytest.mark.parametrize(
    "use",
    [
        "from graft.formats.openvino import convert; convert(Path('net.onnx'), Path('model.xml'), [])",
        "from graft.model.openvino import compiled; import torch; "
        "from graft.model.prefix import Asked; "
        "net = torch.nn.Sequential(torch.nn.Linear(4, 2)); x = {'input': torch.zeros(2, 4)}; "
        "compiled(net, {'0': 'a'}, x, [Asked('0', -1, False)], 'float32')(x)",
    ],
)
def test_nobody_is_told_of_what_is_converted(use: str, tmp_path: Path, home: Path) -> None:
    """OpenVINO's converter keeps a name for its user in the person's folder, and sends events under it."""
    import onnx
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", value[:1], value[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "net.onnx")
    person = tmp_path / "person"
    person.mkdir()
    env = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(person)}
    code = f"from pathlib import Path; {use}; import sys; assert 'openvino' in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=True)
    assert list(person.iterdir()) == []


def test_the_path_with_a_graph_ends_like_the_path_without(own_home, photos, monkeypatch) -> None:
    task, budget = graft.load(photos), graft.Budget(seconds=5)
    plain = graft.rank(task, ["tiny/shapes"], budget)[0]
    monkeypatch.setattr(speed, "WORTH", 0.0)
    monkeypatch.setattr(probes, "FASTER", 1e9)
    evidence = graft.rank(graft.load(photos, seed=1), ["tiny/shapes"], budget)[0]
    assert (plain.form.runtime, evidence.form.runtime) == ("eager", "openvino")
    runs = [
        graft.adapt(task, replace(graft.plan(task, plain, "lp_ft", budget), form=form))
        for form in (plain.form, replace(plain.form, runtime="openvino"))
    ]
    scores = [[epoch.val_loss for epoch in run.history] for run in runs]
    np.testing.assert_allclose(*scores, rtol=1e-2)
    said = [logits(task, run, task.val)[0] for run in runs]
    np.testing.assert_allclose(*said, atol=1e-2)


def test_once_there_is_a_graph_fewer_examples_run_through_it_too(own_home, photos, monkeypatch) -> None:
    """Else the same photos, fewer of them or more, would be computed in both forms."""
    task, backbone = graft.load(photos), find("tiny/shapes")
    made = build(backbone, "classification", 3)[0]
    assert speed.forward(task, backbone, made)[0].runtime == "eager"
    monkeypatch.setattr(probes, "FASTER", 1e9)
    with monkeypatch.context() as patch:
        patch.setattr(speed, "WORTH", 0.0)
        assert speed.forward(task, backbone, made)[0].runtime == "openvino"
    assert speed.forward(task, backbone, made)[0].runtime == "openvino"

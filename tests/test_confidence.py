"""What an answer is worth: sets and ranges as they are told, doubt, and examples unlike the training data."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn

from graft import words
from graft.confidence import UNLIKE, strangers
from graft.core.codec import from_json, to_json
from graft.core.reports import Calibration
from graft.core.shelf import take
from graft.model import calibration, conformal, trust
from graft.model.network import Network, Shipped
from graft.model.novelty import NEAREST, novelty, unit

NAMES = ("a", "b", "c", "d")


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are twice too sure of labels drawn by them."""
    rng = np.random.default_rng(seed)
    z = 2 * rng.normal(size=(n, 4))
    return (2 * z).astype(np.float32), (softmax(z, 1).cumsum(1) > rng.random((n, 1))).argmax(1)


def test_too_sure_a_model_is_calibrated_and_knows_when_it_is_unsure() -> None:
    head, test = take("heads", "classification"), drawn(1000, 1)
    found = head.calibrated("adapted", drawn(400, 0), test)
    assert from_json(Calibration, to_json(found)) == found
    assert found.temperature == pytest.approx(2, rel=0.15)
    assert found.before[1] > 0.1
    assert found.after[1] == 0
    assert found.coverage[1] <= 0.9 + 1 / 401
    assert found.coverage[2] >= 0.9
    told = [head.answer(row, NAMES, found.trust) for row in test[0]]
    sure = np.array([not one["unsure"] for one in told])
    assert sure.mean() == pytest.approx(found.answered)
    right = np.array([one["label"] == NAMES[y] for one, y in zip(told, test[1], strict=True)])
    assert right[sure].mean() == pytest.approx(found.right[0])
    assert right[sure].mean() > right.mean() + 0.05
    held = [NAMES[y] in one["set"] for one, y in zip(told, test[1], strict=True)]
    assert np.mean(held) == pytest.approx(found.coverage[0])
    plain = [head.answer(row, NAMES) for row in test[0]]
    assert [one["label"] for one in plain] == [one["label"] for one in told]
    assert set(plain[0]) == {"label", "probability", "probabilities"}
    assert plain[0]["probability"] > told[0]["probability"]


def test_few_examples_choose_no_temperature() -> None:
    """Thirteen that are all right do not show that the model is too sure, nor do examples of a calibrated one."""
    sure = 6 * np.eye(4, dtype=np.float32)[np.arange(13) % 4]
    assert calibration.temperature(sure, sure.argmax(1)) > 1
    assert take("heads", "classification").calibrated("adapted", (sure, sure.argmax(1)), drawn(50, 1)).temperature == 1
    parts = [(z / 2, y) for z, y in (drawn(60, seed) for seed in range(200))]
    chosen = sum(calibration.warranted(z, y, calibration.temperature(z, y)) for z, y in parts)
    assert 2 <= chosen <= 20  # of 200, where one in twenty is expected: 10 ± 3


def test_ranges_hold_the_truth() -> None:
    rng, head = np.random.default_rng(0), take("heads", "regression")

    def part(n: int) -> tuple[np.ndarray, np.ndarray]:
        y = rng.normal(size=(n, 2))
        return (y + rng.normal(size=(n, 2)) * [1.0, 10.0]).astype(np.float32), y

    found = head.calibrated("adapted", part(2000), part(2000))
    assert found.thresholds == pytest.approx((1.645, 16.45), rel=0.06)  # where 90 % of a normal error lie
    assert found.coverage[1] <= 0.9 <= found.coverage[2]
    told = head.answer(np.array([1.0, 2.0], np.float32), ("x", "y"), {"quantiles": (0.5, 3.0)})
    assert told == {"values": {"x": 1.0, "y": 2.0}, "ranges": {"x": [0.5, 1.5], "y": [-1.0, 5.0]}}
    assert head.answer(np.array([1.0]), ("x",), {"quantiles": [0.5]}) == {"value": 1.0, "range": [0.5, 1.5]}
    assert head.answer(np.array([1.0]), ("x",), {"quantiles": []}) == {"value": 1.0}


def test_too_few_examples_promise_nothing() -> None:
    head = take("heads", "classification")
    found = head.calibrated("adapted", drawn(8, 0), drawn(50, 1))
    assert found.thresholds == ()
    assert (found.coverage[0], found.answered, found.right) == (1, 0, ())
    assert head.answer(np.array([9.0, 0, 0, 0]), NAMES, found.trust)["unsure"]
    assert trust.labels(np.array([0.1, 0.2, 0.3, 0.4]), NAMES, found.trust)["set"] == list(NAMES)


def test_doubt_is_told_in_a_word() -> None:
    told = {"input": "x", "label": "a", "probability": 0.5, "set": ["a", "b"], "unsure": True, "unlike": True}
    assert words.answer(told) == "x: a (0.500; unsure: a or b) [unlike what it learned from]"
    assert words.answer(told | {"set": [], "unlike": False}) == "x: a (0.500; unsure: less sure than usual)"
    assert words.answer(told | {"set": ["a"], "unsure": False, "unlike": False}) == "x: a (0.500)"
    value = {"input": "x", "value": 2.0, "range": [1.0, 3.0], "unlike": False}
    assert words.answer(value) == "x: value 2, range 1, 3"


def test_too_few_to_know_what_is_unlike_is_said() -> None:
    few, enough = (SimpleNamespace(val=range(count), modality="image") for count in (18, 19))
    assert np.isinf(conformal.quantile(np.arange(18), UNLIKE))
    assert "18 validation photos are too few" in strangers(few)[0]
    assert np.isfinite(conformal.quantile(np.arange(19), UNLIKE))
    assert strangers(enough) == []


def test_novelty_is_the_distance_to_the_third_nearest() -> None:
    known = unit(torch.tensor([[1.0, 0], [0, 2], [-3, 0], [0, -1]]))
    found = novelty(torch.tensor([[5.0, 0], [1, 1]]), known)
    assert found.tolist() == pytest.approx([1.0, 1 + 0.5**0.5])  # at 0, 90 and 90 degrees; at 45, 45 and 135
    assert NEAREST == 3
    assert novelty(torch.tensor([[5.0, 0]]), known[:1]).tolist() == pytest.approx([0.0])
    away, near = torch.randn(50, 8) - 3, torch.randn(50, 8) + 3
    assert novelty(away, unit(near)).min() > novelty(near, unit(near)).max()


def test_an_exported_network_tells_logits_and_novelty(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Network(nn.Identity(), nn.Sequential(nn.Linear(5, 6), nn.ReLU()), nn.Linear(6, 3)).eval()
    x, onnx = torch.randn(7, 5), take("formats", "onnx")
    known = unit(network.backbone(torch.randn(20, 5)).detach())
    for name, shipped in (("old", Shipped(network)), ("new", Shipped(network, known=known))):
        onnx.write(shipped, {"x": x}, tmp_path / f"{name}.onnx", {"x": ["batch", 5]}, shipped.outputs)
    fed = {"x": x[:4].numpy()}
    old, new = (onnx.read(tmp_path / f"{name}.onnx")(fed) for name in ("old", "new"))
    assert set(old) == {"logits", "features"}
    assert new["features"] == pytest.approx(network.backbone(x[:4]).detach().numpy(), abs=1e-6)
    assert np.array_equal(old["logits"], new["logits"])
    with torch.no_grad():
        assert new["novelty"] == pytest.approx(novelty(network.backbone(x[:4]), known).numpy(), abs=1e-5)

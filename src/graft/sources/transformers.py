"""The transformers library's networks for texts and sounds, from a hub, its cache, or a local folder.

A name is a hub's repository ("sentence-transformers/all-MiniLM-L6-v2"), or the path of a folder as save_pretrained or
sentence-transformers write it: config.json, weights, tokenizer.json or a feature extractor's settings, and, where there
are any, the modules that say how tokens become one vector.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.core.errors import BackboneError
from graft.core.keys import file_sha256
from graft.core.nouns import Backbone, Loading
from graft.data import hub
from graft.model import lean

if TYPE_CHECKING:
    from torch import Tensor, nn

POOLINGS = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max", "lasttoken": "last"}
SOUNDS = {
    "whisper": "mel",
    "audio-spectrogram-transformer": "mel",
    "wav2vec2": "wave",
    "hubert": "wave",
    "wavlm": "wave",
}
# Of a network's own settings, those that say what it computes; the others are about training, files and generation.
IDLE = (
    *("architectures", "dtype", "torch_dtype", "transformers_version", "_name_or_path", "name_or_path", "id2label"),
    *("label2id", "use_cache", "gradient_checkpointing", "problem_type", "return_dict", "_attn_implementation"),
)
STATIC = "static"  # the kind of a table of token vectors, which is no network of the library
# Kinds whose positions begin behind the padding's.
OFFSET = (
    *("roberta", "xlm-roberta", "xlm-roberta-xl", "roberta-prelayernorm", "camembert", "mpnet", "longformer", "esm"),
    *("data2vec-text", "luke", "xmod"),
)
# Left out at random in training: whole layers, which would strike a frozen network too; and attention, whose fast
# kernels know no dropout (three times slower on a CPU with it), while outputs keep theirs.
UNUSED = ("layerdrop", "encoder_layerdrop", "attention_dropout", "attention_probs_dropout_prob", "attn_pdrop")
LONGEST = 512  # tokens of a window, where a network could take more: attention's cost grows with the square


def catalog(modality: str) -> list[Backbone]:
    """What lies whole in the hub's cache."""
    if modality not in ("text", "audio"):
        return []
    found = []
    for name in hub.cached():
        try:
            backbone = find(name)
        except BackboneError:
            continue  # a data set, an image model, a part of one
        if backbone.modality == modality:
            found.append(backbone)
    return found


def find(name: str) -> Backbone:
    """The backbone called transformers/`name`; of one that is not here, only what describes it is fetched.

    Raises:
        BackboneError: there is no such folder or repository, or its network is of another kind.
    """
    from graft.data import tokens

    folder = hub.folder(name)
    if (place := hub.static(folder)) is not None:
        from graft.model.pickles import read
        from graft.model.static import shape

        folder = hub.folder(name, whole=True)  # the table alone says how large it is
    config = hub.settings(folder / "config.json") if not place or (folder / "config.json").is_file() else {}
    kind = STATIC if place else config.get("model_type", "")
    if kind in SOUNDS:
        modality, input = "audio", _heard(folder, kind, config)
    elif (tokenizer := tokens.found(place or folder)) is not None:
        bare, unknown = tokens.bare(tokenizer) if place else (tokenizer, None)
        modality, input = "text", _read(folder, bare, config)
        if place:
            made = shape(read(hub.weights(place)[0]))
            config = {**made, "unknown": unknown if config else None}  # which sentence-transformers does count
    else:
        raise BackboneError(
            f"{name} has no tokenizer, and its kind ({kind or 'unnamed'}) is none of {', '.join(SOUNDS)}: graft does "
            "not know what to feed it. For images use timm/…."
        )
    weights = next(((place or folder) / f for f in hub.WEIGHTS if ((place or folder) / f).is_file()), None)
    return Backbone(
        id=f"transformers/{name}",
        modality=modality,
        family=kind,
        architecture=f"transformers/{kind}",
        input=input,
        config={name: value for name, value in config.items() if name not in IDLE},
        pretrained_on=", ".join(hub.card(folder, "datasets")),
        license=next(iter(hub.card(folder, "license")), "unknown"),
        revision=folder.name if folder.parent.name == "snapshots" else "",
        sha256=file_sha256(weights) if weights and weights.suffix == ".safetensors" else "",
    )


def open(backbone: Backbone, pretrained: bool = True) -> "tuple[nn.Module, Loading]":
    """The network that gives one vector an example, in eval mode, and how its weights fitted (heads are unused).

    Raises:
        BackboneError: the weights are neither here nor reachable, or do not fit.
    """
    from graft.model.loading import load
    from graft.model.pickles import read

    name = backbone.id.removeprefix("transformers/")
    net = build(backbone.architecture.removeprefix("transformers/"), backbone.input, backbone.config)
    if not pretrained:
        return net, Loading()
    folder = hub.folder(name, whole=True)
    state: dict[str, Tensor] = {}
    for file in hub.weights(hub.static(folder) or folder):
        state |= read(file)
    inner: nn.Module = net.model  # type: ignore[assignment]
    loading = load(inner, state, convert)
    if (folder / "modules.json").is_file() and backbone.modality == "text":
        _dense(net, folder)
    return net, loading


def build(name: str, input: Mapping[str, Any] | None = None, config: Mapping[str, Any] | None = None) -> "nn.Module":
    """The empty network of a kind ("bert"), in eval mode: random weights from torch's current generator.

    Raises:
        BackboneError: the library has no such kind, or cannot build it from this configuration.
    """
    lean.transformers()
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding
    from transformers.utils import logging

    from graft.model.static import Static

    logging.set_verbosity_error()
    settings = {k: v for k, v in (config or {}).items() if k != "model_type"}
    if name == STATIC:
        return _encoder(Static(**settings), settings["vocab_size"], input or {}, name)
    try:
        made = AutoConfig.for_model(name, **settings)
        made.use_cache = False
        for switch in UNUSED:
            if hasattr(made, switch):
                setattr(made, switch, 0.0)
        if name in SOUNDS:
            return _hearing(name, made, input or {})
        if name in ("t5", "mt5", "umt5"):
            model: nn.Module = AutoModelForTextEncoding.from_config(made)
        else:
            try:
                model = AutoModel.from_config(made, add_pooling_layer=False)
            except TypeError:  # kinds without one do not know the argument
                model = AutoModel.from_config(made)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackboneError(f"transformers cannot build a {name!r} network: {str(error).splitlines()[0]}.") from error
    return _encoder(model, int(made.vocab_size), input or {}, name)


def _encoder(model: "nn.Module", vocabulary: int, spec: Mapping[str, Any], name: str) -> "nn.Module":
    """The model with its pooling, packed where it may be."""
    import torch

    from graft.model.encoder import Encoder, try_packing

    encoder = Encoder(model.eval(), int(spec.get("window", LONGEST)), str(spec.get("pooling", "mean")))
    encoder.after = _after(spec.get("after", []))
    try:
        with torch.random.fork_rng(devices=[]):
            try_packing(encoder, vocabulary)
    except Exception as error:  # of whatever kind a network raises that wants more than this
        first = str(error).splitlines()[0].rstrip(".")
        raise BackboneError(f"A {name!r} network cannot run on tokens alone: {first}.") from error
    return encoder.eval()


def convert(state: "dict[str, Tensor]", module: "nn.Module") -> "dict[str, Tensor]":
    """Names of the first BERT files, tensors under another of their names, and sound encoders beside a decoder."""
    from graft.model import hearing, static

    if isinstance(module, static.Static):
        return static.convert(state, module)
    renamed = {k.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias"): v
               for k, v in state.items()}  # fmt: skip
    # A weight normalisation of older files, by the names of torch's newer one.
    newer = {
        k.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): v
        for k, v in renamed.items()
    }
    wanted = module.state_dict()
    names = {tensor.data_ptr(): name for name, tensor in wanted.items() if name in newer}
    tied = {
        name: newer[names[tensor.data_ptr()]]
        for name, tensor in wanted.items()
        if name not in newer and tensor.data_ptr() in names
    }
    return hearing.convert({**newer, **tied}, module)


def _hearing(name: str, config: Any, input: Mapping[str, Any]) -> "nn.Module":
    from graft.data import mel
    from graft.model import hearing

    net: nn.Module = hearing.listener(name, config, mel.window_frames(input))
    return net.eval()


def _read(folder: Path, tokenizer: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a text encoder is fed, from its tokenizer and what sentence-transformers wrote beside it."""
    from graft.data import tokens

    modules = hub.settings(folder / "modules.json") if (folder / "modules.json").is_file() else []
    if not modules and config.get("normalize"):  # as model2vec says it
        modules = [{"type": "Normalize", "path": ""}]
    pooling, after = "", []
    for module in modules:
        inner, kind = folder / module["path"], module["type"].rpartition(".")[2]
        if kind == "Pooling":
            pooling = _pooling(folder, hub.settings(inner / "config.json"))
        elif kind == "Dense":
            facts = hub.settings(inner / "config.json")
            names = ("in_features", "out_features", "bias", "activation_function")
            after.append({"dense": [facts.get(one) for one in names], "path": module["path"]})
        elif kind == "Normalize":
            after.append({"unit": True})
        elif kind not in ("Transformer", "Dropout", "StaticEmbedding"):
            raise BackboneError(f"{folder} holds a module {kind} that graft does not know.")
    settings = folder / "sentence_bert_config.json"
    told = hub.settings(settings) if settings.is_file() else {}
    places = config.get("max_position_embeddings") or config.get("n_positions") or LONGEST
    places -= 1 + (config.get("pad_token_id") or 0) if config.get("model_type") in OFFSET else 0
    kinds = config.get("type_vocab_size", 1) > 1 and config.get("model_type") not in OFFSET
    return {
        "tokenizer": tokens.keep(tokens.lowered(tokenizer) if told.get("do_lower_case") else tokenizer),
        "window": min(told.get("max_seq_length") or LONGEST, places),
        "kinds": kinds,
        "pooling": pooling or "mean",  # of decoders too: what comes last foretells one token, and says less of the text
        **({"after": after} if after else {}),
    }


def _pooling(folder: Path, facts: Mapping[str, Any]) -> str:
    if "pooling_mode" in facts:
        chosen = [facts["pooling_mode"]] if isinstance(facts["pooling_mode"], str) else list(facts["pooling_mode"])
        chosen = [{"lasttoken": "last"}.get(one, one) for one in chosen]
    else:
        chosen = [ours for theirs, ours in POOLINGS.items() if facts.get(f"pooling_mode_{theirs}")]
    if len(chosen) != 1 or chosen[0] not in POOLINGS.values():
        raise BackboneError(f"{folder} pools tokens in a way that graft does not know: {dict(facts)}.")
    return str(chosen[0])


def _after(steps: "list[Mapping[str, Any]]") -> "nn.Module":
    from torch import nn

    from graft.model.encoder import Unit

    made: list[nn.Module] = []
    for step in steps:
        if "unit" in step:
            made.append(Unit())
            continue
        width, out, bias, activation = step["dense"]
        name = (activation or "torch.nn.modules.linear.Identity").rpartition(".")[2]
        if not isinstance(kind := getattr(nn, name, None), type):
            raise BackboneError(f"torch has no activation {name!r}.")
        made.append(nn.Sequential(nn.Linear(width, out, bias=bias), kind()))
    return nn.Sequential(*made) if made else nn.Identity()


def _dense(net: "nn.Module", folder: Path) -> None:
    """Weights of the dense layers behind the pooling."""
    import torch

    from graft.model.pickles import read

    paths = [m["path"] for m in hub.settings(folder / "modules.json") if m["type"].endswith(".Dense")]
    layers = [m for m in net.after.modules() if isinstance(m, torch.nn.Linear)]  # type: ignore[union-attr]
    for path, layer in zip(paths, layers, strict=True):
        (file,) = hub.weights(folder / path)
        layer.load_state_dict({name.removeprefix("linear."): value for name, value in read(file).items()})


def _heard(folder: Path, kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a sound encoder is fed, from its feature extractor's settings."""
    from graft.model import hearing

    file = folder / "preprocessor_config.json"
    return dict(hearing.input_of(kind, config, hub.settings(file) if file.is_file() else {}))

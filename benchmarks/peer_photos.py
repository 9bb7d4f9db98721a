"""A new head, and perhaps more, on a frozen network as other libraries do it: each at its best, with nothing needless.

Knows nothing of graft; `peers.py` starts it in a fresh process with a job on standard input, which names the parameters
that learn beside the head. What is frozen runs without gradients, in channels_last where the library lets it; batches
of 32 from two workers, of plain photos or of ones cropped and flipped anew in every epoch.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from plain_photos import loader, network, outputs, probe

RATE, SLOW = 5e-3, 1e-4  # of AdamW for a head on features of size one, and for what was learned before
Answers = np.ndarray


def frozen(job: dict[str, Any]) -> nn.Module:
    """The network in channels_last, of which its fresh last layer learns, and what the job names."""
    torch.manual_seed(job["seed"])
    model = network(job, job["classes"]).to(memory_format=torch.channels_last).eval().requires_grad_(False)
    for name in job["learned"]:
        model.get_parameter(name).requires_grad_(True)
    last(model).requires_grad_(True)
    model.train = lambda mode=True: model  # type: ignore[method-assign]  # batch norm stays as it was learned
    return model


def last(model: nn.Module) -> nn.Module:
    """The layer that answers."""
    return [module for module in model.modules() if isinstance(module, nn.Linear)][-1]


def split(model: nn.Module) -> list[list[nn.Parameter]]:
    """What learns: what was learned before, if any of it does, and the head."""
    head = list(last(model).parameters())
    others = [one for one in model.parameters() if one.requires_grad and all(one is not each for each in head)]
    return [others, head] if others else [head]


def rates(parts: list[list[nn.Parameter]]) -> list[dict[str, Any]]:
    """The same as groups of an optimiser."""
    return [{"params": part, "lr": rate} for part, rate in zip(parts, (SLOW, RATE)[-len(parts) :], strict=True)]


def batched(job: dict[str, Any], part: str) -> DataLoader[Any]:
    """Photos, shuffled where they are learned from, and there varied if the job says so."""
    data = loader(job, part, part == "train" and job["varied"]).dataset
    return DataLoader(data, 32, shuffle=part == "train", num_workers=2, persistent_workers=True)


def answers(model: nn.Module, job: dict[str, Any]) -> Answers:
    """What the model says of the test photos."""
    return outputs(model, loader(job, "test", False)).argmax(1)


def rival(job: dict[str, Any]) -> Answers:
    """Features kept in an array, and scikit-learn: what caching by hand takes."""
    return probe(job)[0]


def loop(job: dict[str, Any]) -> Answers:
    """A loop by hand."""
    model = frozen(job)
    engine = torch.optim.AdamW(rates(split(model)))
    batches = batched(job, "train")
    for _ in range(job["epochs"]):
        for x, y in batches:
            engine.zero_grad()
            nn.functional.cross_entropy(model(x.to(memory_format=torch.channels_last)), y).backward()
            engine.step()
    return answers(model, job)


def fabric(job: dict[str, Any]) -> Answers:
    """Lightning Fabric."""
    from lightning.fabric import Fabric

    device = Fabric(accelerator="cpu", devices=1)
    module = frozen(job)
    model, engine = device.setup(module, torch.optim.AdamW(rates(split(module))))
    batches = device.setup_dataloaders(batched(job, "train"))
    for _ in range(job["epochs"]):
        for x, y in batches:
            engine.zero_grad()
            device.backward(nn.functional.cross_entropy(model(x.to(memory_format=torch.channels_last)), y))
            engine.step()
    return answers(module, job)


def trainer(job: dict[str, Any]) -> Answers:
    """Hugging Face's Trainer."""
    from tempfile import TemporaryDirectory

    from transformers import Trainer, TrainingArguments

    class Told(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            logits = self.inner(x.to(memory_format=torch.channels_last))
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    model = frozen(job)

    def collate(rows: list[tuple[torch.Tensor, int]]) -> dict[str, torch.Tensor]:
        return {"x": torch.stack([x for x, _ in rows]), "labels": torch.tensor([y for _, y in rows])}

    with TemporaryDirectory() as place:
        how = TrainingArguments(
            place, num_train_epochs=job["epochs"], per_device_train_batch_size=32, learning_rate=RATE, use_cpu=True,
            dataloader_num_workers=2, dataloader_persistent_workers=True, save_strategy="no", report_to="none",
            logging_strategy="no", disable_tqdm=True, remove_unused_columns=False,
        )  # fmt: skip
        engine = torch.optim.AdamW(rates(split(model)))
        Trainer(Told(model), how, collate, batched(job, "train").dataset, optimizers=(engine, None)).train()
    return answers(model, job)


def fastai(job: dict[str, Any]) -> Answers:
    """fastai's Learner, one cycle."""
    from fastai.callback import progress, schedule  # noqa: F401  (they give the learner no_bar and fit_one_cycle)
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import Adam

    model = frozen(job)
    loaders = DataLoaders(batched(job, "train"), batched(job, "val"))
    learner = Learner(loaders, model, nn.functional.cross_entropy, Adam, lr=RATE, splitter=split)
    with learner.no_bar():
        learner.fit_one_cycle(job["epochs"], slice(SLOW, RATE) if job["learned"] else RATE)
    return answers(model, job)


def keras(job: dict[str, Any]) -> Answers:
    """Keras 3 on torch, the network as a layer in it."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    body = frozen(job)
    width = last(body).in_features
    body.reset_classifier(0) if hasattr(body, "reset_classifier") else None
    layer = keras.layers.TorchModuleWrapper(body)
    layer.trainable = bool(job["learned"])
    model = keras.Sequential([layer, keras.layers.Dense(job["classes"], input_shape=(width,))])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(SLOW if job["learned"] else RATE), loss)  # it has one rate for all
    model.fit(batched(job, "train"), epochs=job["epochs"], verbose=0)
    return np.concatenate([model.predict_on_batch(x).argmax(1) for x, _ in loader(job, "test", False)])


if __name__ == "__main__":
    job = json.load(sys.stdin)
    do = {"rival": rival, "loop": loop, "fabric": fabric, "trainer": trainer, "fastai": fastai, "keras": keras}
    name, _, dtype = job["do"].partition(", ")
    kept = name == "rival"  # weights that learn must be rounded anew
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16", cache_enabled=kept):
        said = do[name](job)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = 1024 * int(status["VmHWM"].split()[0])  # wait4 would tell the starting process's, where that is larger
    print(json.dumps({"answers": np.asarray(said).tolist(), "peak": peak}))

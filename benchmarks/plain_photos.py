"""What one would write without graft: a linear probe and fine-tuning with timm, torchvision and scikit-learn.

Knows nothing of graft; `beside.py` starts it in a fresh process with a job on standard input.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

STRENGTHS = (1e-4, 1e-3, 1e-2, 0.1, 1.0)  # scikit-learn's C
MODES = {name: transforms.InterpolationMode(name) for name in ("bilinear", "bicubic")}


class Photos(Dataset[tuple[torch.Tensor, int]]):
    """Files, decoded and transformed each time they are asked for."""

    def __init__(self, part: dict[str, Any], transform: Any) -> None:
        self.items, self.targets, self.transform = part["items"], part["targets"], transform

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.open(self.items[row]).convert("RGB")), self.targets[row]


def network(job: dict[str, Any], outputs: int) -> nn.Module:
    """The architecture with the job's pretrained weights and, with outputs, a fresh head."""
    library, name = job["architecture"].split("/")
    if library == "timm":
        import timm

        fixed = timm.get_pretrained_cfg(name).fixed_input_size  # a transformer's positions are for photos of one size
        model = timm.create_model(name, num_classes=outputs, **({"img_size": job["size"]} if fixed else {}))
    else:
        import torchvision

        model = getattr(torchvision.models, name)()
        last = "fc" if hasattr(model, "fc") else "classifier"
        head = getattr(model, last)
        width = (head if isinstance(head, nn.Linear) else head[-1]).in_features
        fresh = nn.Linear(width, outputs) if outputs else nn.Identity()
        if isinstance(head, nn.Linear):
            setattr(model, last, fresh)
        else:
            head[-1] = fresh
    model.load_state_dict(load_file(job["weights"]), strict=False)
    return model


def loader(job: dict[str, Any], part: str, training: bool) -> DataLoader[Any]:
    """Batches of 32 from two workers; in training mildly cropped, flipped and shuffled."""
    size, mode = job["size"], MODES[job["interpolation"]]
    if training:
        crop = [transforms.RandomResizedCrop(size, (0.5, 1.0), interpolation=mode), transforms.RandomHorizontalFlip()]
    else:
        crop = [transforms.Resize(int(size / job["crop"]), mode), transforms.CenterCrop(size)]
    whole = transforms.Compose([*crop, transforms.ToTensor(), transforms.Normalize(job["mean"], job["std"])])
    return DataLoader(Photos(job[part], whole), 32, shuffle=training, num_workers=2)


@torch.no_grad()
def outputs(model: nn.Module, batches: DataLoader[Any]) -> np.ndarray:
    """What the model answers for every photo."""
    model.eval().to(memory_format=torch.channels_last)
    return torch.cat([model(x.to(memory_format=torch.channels_last)) for x, _ in batches]).float().numpy()


def probe(job: dict[str, Any]) -> tuple[np.ndarray, str]:
    """Logistic regression on frozen features, its strength chosen on validation."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    model = network(job, 0)
    x = {part: outputs(model, loader(job, part, False)) for part in ("train", "val", "test")}
    scale = StandardScaler().fit(x["train"])
    x = {part: scale.transform(rows) for part, rows in x.items()}
    heads = {c: LogisticRegression(C=c, max_iter=2000).fit(x["train"], job["train"]["targets"]) for c in STRENGTHS}
    scores = {c: head.score(x["val"], job["val"]["targets"]) for c, head in heads.items()}
    best = max(scores, key=lambda c: scores[c])
    return heads[best].predict(x["test"]), f"C {best:g}, validation {scores[best]:.3f}"


def finetune(job: dict[str, Any]) -> tuple[np.ndarray, str]:
    """Every weight learns: AdamW, cosine, the epoch that is best on validation."""
    torch.manual_seed(job["seed"])
    model = network(job, job["classes"]).to(memory_format=torch.channels_last)
    engine = torch.optim.AdamW(model.parameters(), lr=job["lr"], weight_decay=0.05)
    train, val, test = loader(job, "train", True), loader(job, "val", False), loader(job, "test", False)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(engine, job["epochs"] * len(train))
    best, kept = -1.0, {}
    for _ in range(job["epochs"]):
        model.train()
        for x, y in train:
            engine.zero_grad()
            nn.functional.cross_entropy(model(x.to(memory_format=torch.channels_last)), y).backward()
            engine.step()
            schedule.step()
        score = float((outputs(model, val).argmax(1) == np.asarray(job["val"]["targets"])).mean())
        if score > best:
            best, kept = score, {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(kept)
    return outputs(model, test).argmax(1), f"validation {best:.3f}"


if __name__ == "__main__":
    job = json.load(sys.stdin)
    answers, note = {"probe": probe, "finetune": finetune}[job["do"]](job)
    Path(job["out"]).write_text(json.dumps({"answers": answers.tolist(), "note": note}), encoding="utf-8")

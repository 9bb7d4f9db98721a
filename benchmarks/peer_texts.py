"""A head on a frozen sentence encoder, as other libraries do it: each at its best, with nothing needless.

Knows nothing of graft; `peers.py` starts it in a fresh process with a job on standard input. All have the same encoder
(MiniLM as sentence-transformers ships it, a mean over tokens, unit length) and the same window of tokens.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from plain_texts import BATCH, best, embedded, encoder, probe

Answers = np.ndarray


def sentences(job: dict[str, Any], place: str) -> Any:
    """The encoder as a SentenceTransformer."""
    from sentence_transformers import SentenceTransformer, models

    known, network = encoder(job)
    network.save_pretrained(place)
    known.save_pretrained(place)
    words = models.Transformer(place, max_seq_length=job["window"])
    return SentenceTransformer(
        modules=[words, models.Pooling(words.get_word_embedding_dimension()), models.Normalize()], device="cpu"
    )


def sentence(job: dict[str, Any]) -> Answers:
    """sentence-transformers, which sorts by length, and scikit-learn."""
    with TemporaryDirectory() as place:
        model = sentences(job, place)
        x = {part: model.encode(job[part]["texts"], batch_size=BATCH) for part in ("train", "val", "test")}
    return best(x, job)[0]


def setfit(job: dict[str, Any]) -> Answers:
    """SetFit: pairs of texts tune the encoder, then logistic regression."""
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    with TemporaryDirectory() as place:
        model = SetFitModel(model_body=sentences(job, place), model_head=LogisticRegression(max_iter=3000))
        rows = Dataset.from_dict({"text": job["train"]["texts"], "label": job["train"]["targets"]})
        how = TrainingArguments(place, batch_size=16, num_epochs=1, num_iterations=20, report_to="none", save_strategy="no")
        Trainer(model, how, rows).train()
        return np.asarray(model.predict(job["test"]["texts"]))


def rival(job: dict[str, Any]) -> Answers:
    """Embeddings kept in an array, and scikit-learn: what caching by hand takes."""
    return probe(job)[0]


def trainer(job: dict[str, Any]) -> Answers:
    """Hugging Face's Trainer, the encoder frozen."""
    from transformers import Trainer, TrainingArguments

    known, network = encoder(job)
    network.requires_grad_(False).eval()
    network.train = lambda mode=True: network  # type: ignore[method-assign]

    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.last = network, nn.Linear(job["config"]["hidden_size"], job["classes"])

        def forward(self, texts: list[str], labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
            with torch.no_grad():
                x = nn.functional.normalize(embedded(known, self.network, texts, job["window"]), dim=1)
            logits = self.last(x)
            return {"logits": logits} if labels is None else {
                "loss": nn.functional.cross_entropy(logits, labels), "logits": logits,
            }  # fmt: skip

    def collate(rows: list[tuple[str, int]]) -> dict[str, Any]:
        return {"texts": [text for text, _ in rows], "labels": torch.tensor([label for _, label in rows])}

    model = Head()
    with TemporaryDirectory() as place:
        how = TrainingArguments(
            place, num_train_epochs=job["epochs"], per_device_train_batch_size=BATCH, learning_rate=0.05, use_cpu=True,
            save_strategy="no", report_to="none", logging_strategy="no", disable_tqdm=True,
            remove_unused_columns=False,
        )  # fmt: skip
        rows = list(zip(job["train"]["texts"], job["train"]["targets"], strict=True))
        Trainer(model, how, collate, rows).train()
    texts = job["test"]["texts"]
    with torch.no_grad():
        said = [model(texts[at : at + BATCH])["logits"].argmax(1) for at in range(0, len(texts), BATCH)]
    return torch.cat(said).numpy()


if __name__ == "__main__":
    job = json.load(sys.stdin)
    do = {"rival": rival, "sentence-transformers": sentence, "setfit": setfit, "trainer": trainer}
    said = do[job["do"]](job)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = 1024 * int(status["VmHWM"].split()[0])  # wait4 would tell the starting process's, where that is larger
    print(json.dumps({"answers": np.asarray(said).tolist(), "peak": peak}))

"""Small networks for every modality, and how one is taught what is told of generated examples.

Each ends in one vector an example (or a window of it): 97,680 weights for pictures, fewer for all others.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from graft.model import lean, tabular
from graft.model.encoder import Encoder, try_packing
from graft.model.waves import Residual

PICTURES, SOUNDS, WAVES = (16, 32, 64, 128), (12, 24, 48, 64), (16, 24, 32, 48)  # channels of their stages
BATCH = 64  # examples of a step of teaching
LAYERS, WIDTH = 3, 48  # of the transformer


def pictures() -> nn.Sequential:
    """Four stages of convolution, batch norm and ReLU: (B, 3, h, w) → (B, 128)."""
    return nn.Sequential(_planes((3, *PICTURES))).eval()


def sounds() -> nn.Sequential:
    """The same, narrower, over mel spectra of any length: (P, frames, bands) → (P, 64)."""
    return nn.Sequential(OrderedDict(plane=nn.Unflatten(1, (1, -1))) | _planes((1, *SOUNDS))).eval()


def waves(channels: int) -> nn.Sequential:
    """Four residual blocks over time, each halving it: (P, channels, samples) → (P, 48)."""
    blocks = [Residual(inside, outside, 2) for inside, outside in pairwise((channels, *WAVES))]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool1d(1), nn.Flatten()).eval()


def cells(columns: int) -> nn.Module:
    """Three residual blocks over columns: (B, columns) → (B, 64)."""
    return tabular.build(columns)


def sentences(vocabulary: int, window: int, pooling: str) -> Encoder:
    """Three layers of a transformer: token ids of texts behind one another → (B, 48)."""
    lean.transformers()
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=vocabulary, max_position_embeddings=window, type_vocab_size=1, num_hidden_layers=LAYERS,
        hidden_size=WIDTH, num_attention_heads=4, intermediate_size=2 * WIDTH,
    )  # fmt: skip
    encoder = Encoder(BertModel(config, add_pooling_layer=False).eval(), window, pooling)
    try_packing(encoder, vocabulary)
    return encoder.eval()


def taught(net: nn.Module, rows: Sequence[Tensor], told: Mapping[str, Tensor], epochs: int, rate: float) -> nn.Module:
    """The network, in eval mode, after it has learned to tell every fact; how it does is up to torch's generator.

    Args:
        rows: prepared examples, of one shape, or for an encoder of texts the tokens of each.
        told: fact → which of its words each example shows.
        rate: AdamW's at its peak, which it reaches after a third of the steps.
    """
    if isinstance(net, Encoder):
        net.packs = False  # many short texts are faster side by side than in a line

    def seen(at: Tensor) -> Tensor:
        some = [rows[row] for row in at.tolist()]
        if isinstance(net, Encoder):
            return net(torch.cat(some), torch.tensor([len(row) for row in some]))  # type: ignore[no-any-return]
        return net(torch.stack(some))  # type: ignore[no-any-return]

    with torch.no_grad():
        width = seen(torch.arange(2)).shape[1]
    sizes = [int(words.max()) + 1 for words in told.values()]
    head = nn.Linear(width, sum(sizes))
    learning = nn.ModuleList([net, head]).train()
    optimiser = torch.optim.AdamW(learning.parameters(), lr=rate, weight_decay=0.05)
    batches = torch.cat([torch.randperm(len(rows)) for _ in range(epochs)]).split(BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=len(batches))
    with torch.enable_grad():
        for at in batches:
            said = head(seen(at)).split(sizes, 1)
            losses = [nn.functional.cross_entropy(x, y[at]) for x, y in zip(said, told.values(), strict=True)]
            optimiser.zero_grad()
            torch.stack(losses).sum().backward()
            optimiser.step()
            schedule.step()
    return net.eval()


def _planes(widths: Sequence[int]) -> "OrderedDict[str, nn.Module]":
    """Stages that halve a picture and widen it, and the mean over what is left of it."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for index, (inside, outside) in enumerate(pairwise(widths)):
        convolution = nn.Conv2d(inside, outside, 3, stride=2, padding=1, bias=False)
        parts[f"stage{index}"] = nn.Sequential(convolution, nn.BatchNorm2d(outside), nn.ReLU())
    return parts | OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())

"""graft: find the pretrained model, adapt it, prove that the transfer helped, ship it."""

import sys
from typing import TYPE_CHECKING

from graft.core.naming import Package

if TYPE_CHECKING:
    from graft import scores as scores
    from graft.adapt import adapt
    from graft.align import align
    from graft.build import build, find
    from graft.convert import convert
    from graft.core.errors import (
        BackboneError,
        DataError,
        ExportMismatch,
        GraftError,
        PlanError,
        StorageError,
        TrainingDiverged,
    )
    from graft.core.nouns import (
        Artifact,
        Backbone,
        Budget,
        Evidence,
        Form,
        Phase,
        Plan,
        Ranking,
        Report,
        Row,
        Run,
        Task,
    )
    from graft.export import export
    from graft.features import features
    from graft.load import load
    from graft.plan import explain, plan
    from graft.predict import Predictor, open
    from graft.rank import rank
    from graft.search import search
    from graft.transfer import transfer
    from graft.verify import verify

__version__ = "0.1.0"

# Where each public name lives; imported on first use, so that `import graft` loads no torch.
_PLACES = {
    "core.nouns": "Artifact Backbone Budget Evidence Form Phase Plan Ranking Report Row Run Task",
    "core.errors": "BackboneError DataError ExportMismatch GraftError PlanError StorageError TrainingDiverged",
    "load": "load", "rank": "rank", "plan": "plan explain", "adapt": "adapt", "align": "align", "search": "search",
    "verify": "verify", "export": "export", "predict": "open Predictor", "transfer": "transfer",
    "features": "features", "build": "build find", "convert": "convert", "": "scores",
}  # fmt: skip
_HOME = {name: place for place, names in _PLACES.items() for name in names.split()}

__all__ = [
    "Artifact", "Backbone", "BackboneError", "Budget", "DataError", "Evidence", "ExportMismatch", "Form", "GraftError",
    "Phase", "Plan", "PlanError", "Predictor", "Ranking", "Report", "Row", "Run", "StorageError", "Task",
    "TrainingDiverged", "adapt", "align", "build", "convert", "explain", "export", "features", "find", "load", "open",
    "plan", "rank", "search", "transfer", "verify",
]  # fmt: skip


sys.modules[__name__].__class__ = Package

"""The head first, then the last two stages with it."""

from graft import Budget, Evidence, Phase, Plan, Task


def top_two(task: Task, evidence: Evidence, budget: Budget) -> Plan:
    """All but the last two stages stay frozen: their output is computed once, in four augmented views."""
    depth = len(evidence.stage_curve)
    head = Phase(train=("head",), solver="exact")
    tune = Phase(train=("head", f"stages[{max(1, depth - 2)}:]"), steps=200, lr=1e-3, backbone_lr=0.1, views=4)
    why = f"The probe reaches {evidence.scores['probe']:.2f}; two of {depth} stages may improve on it."
    return Plan(evidence.backbone, task.head, "top_two", (head, tune), why=(why,))

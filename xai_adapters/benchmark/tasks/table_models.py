"""The models of the counterfactual tasks, by their names for `--model`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from xai_adapters.benchmark.tasks.tables import Table
from xai_adapters.benchmark.tasks.training import trained
from xai_adapters.errors import UnknownNameError, require


class TableNet(nn.Module):
    """A perceptron that standardises its inputs; rows (n, d) to logits (n, K)."""

    mean: Tensor
    spread: Tensor

    def __init__(self, rows: Tensor, n_classes: int, width: int = 64) -> None:
        super().__init__()
        mean, spread = _standard(rows)
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)
        self.layers = nn.Sequential(
            nn.Linear(rows.shape[1], width), nn.ReLU(),
            nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, n_classes),
        )  # fmt: skip

    def forward(self, rows: Tensor) -> Tensor:
        """Logits of rows."""
        logits: Tensor = self.layers((rows - self.mean) / self.spread)
        return logits


def _standard(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each column; 1 for a constant."""
    spread = rows.std(dim=0)
    return rows.mean(dim=0), torch.where(spread > 0, spread, 1.0)


def _mlp(table: Table, seed: int) -> nn.Module:
    rows, labels = table.rows[: table.n_training], table.labels[: table.n_training]
    n_epochs = max(10, 40_000 // len(rows))
    return trained(
        lambda: TableNet(rows, len(table.class_names)), rows, labels, epochs=n_epochs, seed=seed
    )


def _linear(table: Table, seed: int) -> Any:
    """Logistic regression, fitted to standardised columns, with coefficients for the raw ones."""
    fitted = _estimator("linear_model", "LogisticRegression")
    mean, spread = _standard(table.rows[: table.n_training])
    model = fitted(replace(table, rows=(table.rows - mean) / spread), seed)
    model.coef_ = model.coef_ / spread.numpy()
    model.intercept_ = model.intercept_ - model.coef_ @ mean.numpy()
    return model


def _estimator(library: str, kind: str, **settings: Any) -> Callable[[Table, int], Any]:
    def make(table: Table, seed: int) -> Any:
        own = {"min_samples_leaf": table.leaf_rows} if kind == "RandomForestClassifier" else {}
        estimator = getattr(require(f"sklearn.{library}", "benchmark"), kind)
        fitted = estimator(random_state=seed, **settings, **own)
        n = table.n_training
        return fitted.fit(table.rows[:n].numpy(), table.labels[:n].numpy())

    return make


MODELS: dict[str, Callable[[Table, int], Any]] = {
    "forest": _estimator("ensemble", "RandomForestClassifier", n_estimators=200),
    "boosting": _estimator("ensemble", "HistGradientBoostingClassifier"),
    "mlp": _mlp,
    "tree": _estimator("tree", "DecisionTreeClassifier", max_depth=6),
    "linear": _linear,
}


def fit_model(name: str, table: Table, seed: int) -> Any:
    """A model of a table's classes, fitted to its training rows.

    Raises:
        UnknownNameError: if there is no such model.
    """
    if name not in MODELS:
        raise UnknownNameError("model", name, MODELS)
    return MODELS[name](table, seed)

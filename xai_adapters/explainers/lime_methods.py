"""lime's tabular explainer."""

from __future__ import annotations

import torch
from torch import Tensor

from xai_adapters.errors import NotApplicableError, require
from xai_adapters.registry.claims import SAMPLED, SAMPLES, SHAPLEY, SLOPE
from xai_adapters.registry.entries import Explainer, FunctionExplainer, registered
from xai_adapters.registry.subject import Subject

_MAX_COLUMNS, _N_SAMPLES = 1_000, 5_000


@registered(
    baseline="data",
    reads="probabilities",
    block_size=1,
    claims={
        **SHAPLEY, **SAMPLES, "completeness": SLOPE, "dummy": 0.05, "input_invariance": SAMPLED,
    },
    host="lime.lime_tabular",
)  # fmt: skip
def lime_tabular(subject: Subject) -> Explainer:
    """LIME's LimeTabularExplainer, 5,000 samples, not discretized.

    Coefficients of discretized columns would not be directions.
    """
    lime = require("lime.lime_tabular", "benchmark")
    table = subject.background.flatten(1).cpu().numpy()
    n_columns = table.shape[1]
    if n_columns > _MAX_COLUMNS:
        raise NotApplicableError(
            f"samples each of {n_columns:,} columns; at most {_MAX_COLUMNS:,} are feasible"
        )
    # It draws from numpy's global state: with a generator of its own, a row's weights would depend
    # on the rows that were explained before.
    method = lime.LimeTabularExplainer(table, discretize_continuous=False)

    def explain(rows: Tensor, target: Tensor) -> Tensor:
        scores = torch.zeros(len(rows), n_columns)
        for row, (values, label) in enumerate(
            zip(rows.flatten(1).cpu().numpy(), target.tolist(), strict=True)
        ):
            explanation = method.explain_instance(
                values,
                subject.probabilities,
                labels=(label,),
                num_features=n_columns,
                num_samples=_N_SAMPLES,
            )
            for column, weight in explanation.as_map()[label]:
                scores[row, column] = weight
        return scores.to(rows).view_as(rows)

    return FunctionExplainer(explain, {"n_samples": _N_SAMPLES})

"""Alibi's counterfactual generator that runs without TensorFlow: CounterfactualRL."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from xai_adapters.errors import require
from xai_adapters.explainers.encoded_subject import EncodedSubject, Flips, with_plain_names
from xai_adapters.explainers.host_state import seeded_and_silent
from xai_adapters.features.kinds import Categorical
from xai_adapters.registry.claims import claims_nothing
from xai_adapters.registry.entries import CounterfactualGenerator, registered
from xai_adapters.registry.subject import Subject

# The settings of Alibi's own example on Adult.
_SETTINGS = {"coeff_sparsity": 0.5, "coeff_consistency": 0.5, "batch_size": 100}
_LATENT, _HIDDEN, _BATCH = 15, 128, 128
_ROUNDING = 1e-5  # of a standard deviation

Array = np.ndarray[Any, Any]


@registered(
    baseline="data",
    kind="counterfactual",
    block_size=100,
    claims=claims_nothing("training its network takes minutes for each model", "counterfactual"),
    host="alibi.explainers",
)
def cfrl(
    subject: Subject, steps: int = 10_000, autoencoder_steps: int = 5_000
) -> CounterfactualGenerator:
    """Alibi's CounterfactualRLTabular, 10,000 steps.

    After an autoencoder, an actor is trained to move a row's latent code so that the row decoded
    from it has the target class. Its answers are returned as they are: they may not have flipped.

    Samoilescu, Van Looveren and Klaise, "Model-agnostic and scalable counterfactual explanations
    via reinforcement learning", 2021, with Alibi's torch backend.

    Args:
        subject: the model and its table.
        steps: of actor and critic; each queries 100 rows.
        autoencoder_steps: of the autoencoder, 128 rows each.

    Raises:
        MissingDependencyError: without alibi.
    """
    tabular = require("alibi.explainers", "alibi").CounterfactualRLTabular
    encoded = EncodedSubject.of(subject)
    table, device = _Table(encoded), subject.background.device
    dtype = subject.background.dtype

    def probabilities(codes: Array) -> Array:
        rows = encoded.schema.decode(table.encoded(codes).to(device)).to(dtype)
        array: Array = encoded.black_box.probabilities(rows).cpu().numpy()
        return array

    with seeded_and_silent(subject.seed, device), torch.enable_grad():
        encoder, decoder = _autoencoder(encoded, table, autoencoder_steps)
        explainer = tabular(
            predictor=probabilities,
            encoder=encoder,
            decoder=decoder,
            latent_dim=_LATENT,
            encoder_preprocessor=table.standardized,
            decoder_inv_preprocessor=table.codes_of_standardized,
            category_map=table.category_map,
            feature_names=list(table.schema.names),
            immutable_features=[f.name for f in table.schema.features if not f.mutable],
            ranges=table.ranges,
            backend="pytorch",
            train_steps=steps,
            seed=subject.seed,
            # Processes that load data would need the black box.
            num_workers=0,
            **_SETTINGS,
        )
        explainer.fit(table.codes(encoded.background))

    def search(rows: Tensor, original_class: Tensor, flips: Flips) -> Tensor:
        codes = table.codes(rows)
        # The likeliest of the other classes, or the other of two.
        target = 1 - original_class
        if n_classes > 2:
            outputs = encoded.black_box.probabilities(encoded.schema.decode(rows).to(dtype))
            target = outputs.scatter(1, original_class[:, None], -1.0).argmax(dim=1)
        with seeded_and_silent(subject.seed, rows.device):
            explanation = explainer.explain(
                codes, target.cpu().numpy(), table.conditions(rows), batch_size=len(rows)
            )
        points = table.encoded(explanation.data["cf"]["X"]).to(rows)
        # Standardizing and back moves unchanged values by rounding.
        rounding = (points - rows).abs() <= _ROUNDING * encoded.column_scale.to(rows)
        return torch.where(rounding, rows, points)

    n_classes = encoded.black_box.probabilities(subject.background[:1]).shape[1]
    settings = {"steps": steps, "autoencoder_steps": autoencoder_steps, **_SETTINGS}
    return encoded.generator(search, settings)


class _Table:
    """Encoded rows as arrays of numbers and codes (n, features), described for Alibi."""

    def __init__(self, encoded: EncodedSubject) -> None:
        self.subject, self.schema = encoded, with_plain_names(encoded.schema, one_hot=False)
        numbers = encoded.background[:, : encoded.n_numbers].cpu()
        self.mean, self.unit = numbers.mean(dim=0), encoded.unit.cpu()
        self.lowest, self.highest = numbers.amin(dim=0), numbers.amax(dim=0)
        self.category_map = {
            feature.columns[0]: list(feature.categories) for feature in self.schema.categorical
        }

    def codes(self, encoded: Tensor) -> Array:
        """Encoded rows (n, e) as numbers and codes (n, features)."""
        array: Array = self.schema.decode(encoded.cpu()).numpy()
        return array

    def encoded(self, codes: Array) -> Tensor:
        """Numbers and codes (n, features) as encoded rows (n, e)."""
        return self.schema.encode(torch.from_numpy(np.array(codes, dtype=np.float32)))

    def standardized(self, codes: Array) -> Array:
        """What the autoencoder is given: standardized numbers, then one-hot groups."""
        encoded = self.encoded(codes)
        encoded[:, : len(self.mean)] = (encoded[:, : len(self.mean)] - self.mean) / self.unit
        array: Array = encoded.numpy()
        return array

    def codes_of_standardized(self, standardized: Array) -> Array:
        """The inverse of `standardized`, with whole numbers in integer features."""
        encoded = torch.from_numpy(np.array(standardized, dtype=np.float32))
        numbers = encoded[:, : len(self.mean)] * self.unit + self.mean
        integer = [feature.integer for feature in self.schema.continuous]
        whole = torch.tensor(integer, dtype=torch.bool)
        encoded[:, : len(self.mean)] = torch.where(whole, numbers.round(), numbers)
        return self.codes(encoded)

    @property
    def ranges(self) -> dict[str, list[float]]:
        """How far each number may move, in shares of its range over the background."""
        extents = (self.highest - self.lowest).clamp(min=1e-12).tolist()
        return {
            feature.name: [max(-1.0, down / extent), min(1.0, up / extent)]
            for feature, extent in zip(self.schema.continuous, extents, strict=True)
            for down, up in [feature.steps]
        }

    def conditions(self, rows: Tensor) -> list[dict[str, list[Any]]]:
        """What each encoded row may change to, if `ranges` and the background do not say it.

        Alibi keeps to both without conditions, which take it time.
        """
        bounds = [(feature.lower, feature.upper) for feature in self.schema.continuous]
        columns = zip(bounds, self.lowest.tolist(), self.highest.tolist(), strict=True)
        narrow = any(lower > low or upper < high for (lower, upper), low, high in columns)
        if not narrow and all(feature.allowed is None for feature in self.schema.categorical):
            return []
        extent = (self.highest - self.lowest).to(rows)
        numbers = rows[:, : len(extent)]
        lower, upper = self.subject.schema.intervals(rows)
        below = torch.maximum(lower - numbers, -extent).tolist()
        above = torch.minimum(upper - numbers, extent).tolist()
        choices = self.subject.schema.choices(rows).split(self.subject.schema.group_sizes, dim=1)
        return [
            {
                feature.name: [below[at][column], above[at][column]]
                for column, feature in enumerate(self.schema.continuous)
            }
            | {
                feature.name: _chosen(feature, choice[at])
                for feature, choice in zip(self.schema.categorical, choices, strict=True)
            }
            for at in range(len(rows))
        ]


def _chosen(feature: Categorical, choice: Tensor) -> list[Any]:
    return [text for text, may in zip(feature.categories, choice.tolist(), strict=True) if may]


class _Decoder(nn.Module):
    """From latent codes (n, latent) to Alibi's list: numbers, if any, and logits of each group."""

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        self.sizes = sizes
        self.layers = nn.Sequential(
            nn.Linear(_LATENT, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, sum(sizes))
        )

    def forward(self, codes: Tensor) -> list[Tensor]:
        return list(self.layers(codes).split(self.sizes, dim=1))


def _autoencoder(encoded: EncodedSubject, table: _Table, steps: int) -> tuple[nn.Module, _Decoder]:
    """Fit an encoder and a decoder to the background, from the global random state."""
    rows = torch.from_numpy(table.standardized(table.codes(encoded.background)))
    c = encoded.n_numbers
    encoder = nn.Sequential(
        nn.Linear(rows.shape[1], _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, _LATENT), nn.Tanh()
    )
    decoder = _Decoder([size for size in (c, *encoded.schema.group_sizes) if size])
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()])
    batches: list[Tensor] = []
    for _ in range(steps):
        batches = batches or list(torch.randperm(len(rows)).split(_BATCH))
        batch = rows[batches.pop()]
        heads = decoder(encoder(batch))
        loss = mse_loss(heads.pop(0), batch[:, :c]) if c else torch.zeros(())
        groups = batch[:, c:].split(encoded.schema.group_sizes, dim=1)
        for logits, group in zip(heads, groups, strict=bool(encoded.schema.group_sizes)):
            loss = loss + cross_entropy(logits, group.argmax(dim=1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return encoder.eval(), decoder.eval()

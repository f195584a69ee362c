"""Counterfactual explainers without a host, on every model that they serve."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

pytest.importorskip("sklearn")

from counterfactual_cases import MIXED, keeps, mixed_rows, plain_length, subject

from xai_adapters.errors import NotApplicableError
from xai_adapters.explainers.encoded_subject import EncodedSubject
from xai_adapters.features.schema import FeatureSchema
from xai_adapters.model.black_box import BlackBox
from xai_adapters.registry import Subject, explainer_entry

SUBJECTS = [
    "moons forest", "moons tree", "moons linear", "moons network", "wine forest", "wine tree",
    "wine linear", "wine network", "mixed forest", "mixed tree", "mixed linear", "mixed network",
]  # fmt: skip
# What an entry does not serve, and why.
REFUSALS = {
    "nearest_leaf": ("forest", "linear", "network"),
    "nearest_on_plane": ("forest", "tree", "network", "mixed"),
    "nearest_on_grid": ("wine", "mixed"),
    "wachter": ("forest", "tree", "linear"),
    "gradient_ascent": ("forest", "tree", "linear"),
    "nearest_unlike": (),
    "growing_spheres": (),
}
REASONS = {
    "nearest_leaf": "single decision tree",
    "nearest_on_plane": "linear classifier|none of them whole",
    "nearest_on_grid": "two columns",
    "wachter": "gradients",
    "gradient_ascent": "gradients",
}
SERVED = [
    (entry, name)
    for entry, refused in REFUSALS.items()
    for name in SUBJECTS
    if not set(name.split()) & set(refused)
]


def changed(entry: str, of: Subject, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Counterfactuals, the rows' classes and those of the counterfactuals."""
    box = BlackBox(of.model)
    original_class = box.labels(rows)
    found = explainer_entry(entry).load()(of).counterfactuals(rows, original_class)
    return found, original_class, box.labels(found)


@pytest.mark.parametrize(("entry", "name"), SERVED)
def test_a_row_flips_and_keeps_its_constraints_or_is_as_it_was(entry: str, name: str):
    of, rows = subject(name)
    before = rows.clone()
    found, original_class, labels = changed(entry, of, rows)
    assert torch.equal(rows, before)
    assert found.shape == rows.shape
    assert found.dtype == rows.dtype
    same = (found == rows).all(dim=1)
    assert torch.equal(labels == original_class, same)
    schema = of.schema or FeatureSchema.all_continuous(rows.shape[1])
    for old, new in zip(rows.tolist(), found.tolist(), strict=True):
        assert keeps(schema, old, new)
    # Bounds, and classes that lie far apart, leave some rows without one; most have one.
    wanted = 0.95 if name.startswith("moons") else 0.6
    assert (~same).double().mean() >= wanted


@pytest.mark.parametrize(
    ("entry", "name"),
    [(e, name) for e in REASONS for name in SUBJECTS if (e, name) not in SERVED],
)
def test_what_an_entry_does_not_serve_is_refused_with_the_reason(entry: str, name: str):
    with pytest.raises(NotApplicableError, match=REASONS[entry]):
        explainer_entry(entry).load()(subject(name)[0])


@pytest.mark.parametrize("entry", REFUSALS)
def test_images_are_refused(entry: str):
    images = Subject(torch.nn.Flatten(), torch.rand(4, 1, 2, 2), "image", 0.5)
    with pytest.raises(NotApplicableError):
        explainer_entry(entry).load()(images)


@pytest.mark.parametrize(("entry", "name"), [c for c in SERVED if not c[1].startswith("wine")])
def test_a_row_alone_gets_what_it_gets_among_others(entry: str, name: str):
    of, rows = subject(name)
    rows = rows[:3]
    found, original_class, _ = changed(entry, of, rows)
    generator = explainer_entry(entry).load()(of)
    alone = torch.cat(
        [generator.counterfactuals(rows[i : i + 1], original_class[i : i + 1]) for i in range(3)]
    )
    turned = generator.counterfactuals(rows.flip(0), original_class.flip(0)).flip(0)
    # A network's sums depend on the size of the batch in their last digit.
    tolerance = 1e-4 if name.endswith("network") else 0.0
    assert torch.allclose(alone, found, rtol=0, atol=tolerance)
    assert torch.allclose(turned, found, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "entry", ["growing_spheres", "nearest_unlike", "gradient_ascent", "wachter"]
)
def test_rows_stay_where_nothing_may_change_or_nothing_flips(entry: str):
    of, rows = subject("mixed network")
    fixed = MIXED.restricted([])
    found, *_ = changed(entry, Subject(of.model, of.background, "tabular", None, 0, fixed), rows)
    assert torch.equal(found, rows)
    constant = torch.nn.Linear(10, 2)
    torch.nn.init.zeros_(constant.weight)
    found, *_ = changed(entry, Subject(constant, of.background, "tabular", None, 0, MIXED), rows)
    assert torch.equal(found, rows)


@pytest.mark.parametrize(
    ("entry", "at_most"),
    [("growing_spheres", 1.1), ("nearest_unlike", 1.3), ("gradient_ascent", 1.2), ("wachter", 1.3)],
)
def test_counterfactuals_are_about_as_near_as_can_be(entry: str, at_most: float):
    of, rows = subject("moons network")
    length = EncodedSubject.of(of).length
    found, *_ = changed(entry, of, rows)
    nearest, *_ = changed("nearest_on_grid", of, rows)
    # The grid's points lie 0.012 apart.
    assert (length(rows, found) > length(rows, nearest) - 0.02).all()
    assert length(rows, found).mean() <= at_most * length(rows, nearest).mean()


@pytest.mark.parametrize("entry", ["gradient_ascent", "wachter"])
def test_the_network_is_left_as_it_was(entry: str):
    of, rows = subject("moons network")
    of.model.train()
    weights = [weight.clone() for weight in of.model.parameters()]
    with torch.no_grad():
        changed(entry, of, rows)
    assert of.model.training
    for weight, before in zip(of.model.parameters(), weights, strict=True):
        assert weight.grad is None
        assert weight.requires_grad
        assert torch.equal(weight, before)


@pytest.mark.parametrize("entry", ["gradient_ascent", "wachter"])
@pytest.mark.parametrize("head", ["logits", "probabilities", "one logit", "one probability"])
def test_gradients_are_read_from_every_kind_of_output(entry: str, head: str):
    of, rows = subject("moons network")

    class Head(torch.nn.Module):
        def __init__(self, kind: str) -> None:
            super().__init__()
            self.kind = kind

        def forward(self, X: Tensor) -> Tensor:
            # So that no probability is 1 to the last digit, which has no gradient.
            logits = of.model(X) / 4
            one = logits[:, 1:] - logits[:, :1]
            kinds = {
                "logits": logits,
                "probabilities": logits.softmax(dim=1),
                "one logit": one,
                "one probability": one.sigmoid(),
            }
            return kinds[self.kind]

    same, *_ = changed(entry, Subject(Head("logits"), of.background, "tabular", None), rows)
    found, *_ = changed(entry, Subject(Head(head), of.background, "tabular", None), rows)
    assert (BlackBox(of.model).labels(found) != BlackBox(of.model).labels(rows)).all()
    assert (found - same).abs().mean() < 0.01


@pytest.mark.parametrize(
    "entry", ["growing_spheres", "nearest_unlike", "gradient_ascent", "wachter"]
)
def test_a_lone_logit_is_not_taken_for_a_probability(entry: str):
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(model.weight)
    of = Subject(model, torch.linspace(-3, 3, 50)[:, None], "tabular", None)
    found = (
        explainer_entry(entry).load()(of).counterfactuals(torch.tensor([[0.3]]), torch.tensor([1]))
    )
    assert float(found) < 0


def test_wachter_keeps_the_nearest_point_that_flipped():
    of, rows = subject("moons network")
    asked = []

    class Recorder(torch.nn.Module):
        def forward(self, X: Tensor) -> Tensor:
            asked.append(X.detach().clone())
            return of.model(X)

    centre = of.background.median(dim=0).values
    deviation = (of.background - centre).abs().median(dim=0).values
    for row in rows[:5, None]:
        original_class = BlackBox(of.model).labels(row)
        generator = explainer_entry("wachter").load()(
            Subject(Recorder(), of.background, "tabular", None)
        )
        asked.clear()
        found = generator.counterfactuals(row, original_class)
        points = torch.cat(asked)
        points = points[BlackBox(of.model).labels(points) != original_class]
        lengths = ((points - row).abs() / deviation).sum(dim=1)
        length = ((found - row).abs() / deviation).sum()
        assert float(length) == pytest.approx(float(lengths.min()), rel=1e-4)


def test_the_nearest_unlike_neighbour_is_what_a_loop_finds():
    of, rows = subject("mixed forest")
    rows = rows[:10]
    found, original_class, _ = changed("nearest_unlike", of, rows)
    box, encoded = BlackBox(of.model), MIXED.encode(of.background)
    unlike = box.labels(of.background)
    for row, label, after in zip(rows, original_class, found, strict=True):
        best, nearest = row, float("inf")
        for other in encoded[unlike != label]:
            point = MIXED.decode(MIXED.settle(MIXED.encode(row[None]), other[None]))
            length = plain_length(MIXED, of.background, row.tolist(), point[0].tolist())
            if length < nearest and int(box.labels(point)) != label:
                best, nearest = point[0], length
        assert plain_length(MIXED, of.background, row.tolist(), after.tolist()) == pytest.approx(
            plain_length(MIXED, of.background, row.tolist(), best.tolist()), rel=1e-4
        )


def test_rows_of_the_cases_keep_their_own_schema():
    MIXED.check(mixed_rows(50), bounds=True)


def test_growing_spheres_draw_from_their_seed_alone():
    of, rows = subject("mixed forest")
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, *_ = changed("growing_spheres", of, rows)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    again, *_ = changed("growing_spheres", of, rows)
    other, *_ = changed("growing_spheres", subject("mixed forest", seed=1)[0], rows)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_have_the_rows_precision(dtype: torch.dtype):
    of, rows = subject("moons forest")
    of = Subject(of.model, of.background.to(dtype), "tabular", None)
    found, original_class, labels = changed("growing_spheres", of, rows.to(dtype))
    assert found.dtype == dtype
    assert (labels != original_class).all()

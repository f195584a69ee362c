"""What each entry says of itself: one walk over all explainers."""

import dataclasses
import inspect
import pickle
from contextlib import suppress
from typing import get_args, get_type_hints

import pytest
import torch
from torch import nn

from xai_adapters.errors import InvalidInputError, NotApplicableError, UnknownOptionError
from xai_adapters.registry import (
    ExplainerEntry,
    Subject,
    entry_of,
    explainer_entry,
    explainer_names,
    registered,
)
from xai_adapters.registry import entries as facts

NEEDS = {
    "captum_methods": "captum", "shap_methods": "shap", "lime_methods": "lime",
    "dice_methods": "dice_ml", "alibi_methods": "alibi",
}  # fmt: skip
# With the defaults they train or search for minutes; the tests of their library make them shorter.
SLOW = {"cfrl", "dice_genetic", "dice_gradient"}


def halves(d: int) -> nn.Linear:
    """A model that has each of two classes for about half of the rows."""
    linear = nn.Linear(d, 2, bias=False)
    weight = torch.linspace(-1, 1, d)
    with torch.no_grad():
        linear.weight.copy_(torch.stack((weight, -weight)))
    return linear.eval()


def images() -> Subject:
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), halves(16))
    return Subject(model, torch.rand(40, 1, 4, 4, generator=generator), "image", 0.5)


def table() -> Subject:
    generator = torch.Generator().manual_seed(0)
    return Subject(halves(2), torch.randn(60, 2, generator=generator), "tabular", None)


@pytest.mark.parametrize("name", explainer_names())
def test_facts_are_known_ones_and_the_summary_is_a_line(name: str):
    entry = explainer_entry(name)
    assert entry.summary
    assert "\n" not in entry.summary
    assert not entry.summary.endswith(".")
    for fact in ("baseline", "rank_by", "kind", "reads", "role"):
        kind = getattr(facts, {"rank_by": "RankBy"}.get(fact, fact.capitalize()))
        assert getattr(entry, fact) in get_args(kind)
    assert entry.unit is None or entry.unit in get_args(facts.Unit)
    assert entry.block_size is None or entry.block_size >= 1
    assert entry.is_reference == (name in ("greedy", "random"))


@pytest.mark.parametrize("name", explainer_names())
def test_every_explainer_claims_an_axiom_of_its_kind_or_says_why_not(name: str):
    pytest.importorskip("hypothesis")
    from xai_adapters.axioms import AXIOMS, registered

    # Made without importing what it is made of.
    tested = registered(name)
    of_kind = {axiom.name for axiom in AXIOMS.values() if axiom.kind == explainer_entry(name).kind}
    assert of_kind <= set(tested.claims)
    assert set(tested.claims) <= set(AXIOMS)
    for claim in tested.claims.values():
        assert claim if isinstance(claim, str) else claim >= 0


@pytest.mark.parametrize("name", sorted(set(explainer_names()) - SLOW))
def test_every_maker_makes_its_explainer_or_says_why_it_cannot(name: str):
    entry = explainer_entry(name)
    maker = entry.load()
    module = maker.__module__.rpartition(".")[2]
    pytest.importorskip(NEEDS.get(module, "torch"))
    subjects = (images(), table()) if entry.kind == "attribution" else (table(),)
    options = {"epochs": 1, "query_rounds": 1} if name.startswith("fimap") else {}
    made = []
    for subject in subjects:
        with suppress(NotApplicableError):
            made.append(maker(subject, **options))
    needs_tree = name == "nearest_leaf"
    assert bool(made) != needs_tree
    for explainer in made:
        called = "explain" if entry.kind == "attribution" else "counterfactuals"
        assert callable(getattr(explainer, called))
        assert_plain(explainer.settings)


@pytest.mark.parametrize("name", sorted(SLOW))
def test_makers_of_slow_explainers_can_be_imported(name: str):
    maker = explainer_entry(name).load()
    pytest.importorskip(NEEDS[maker.__module__.rpartition(".")[2]])
    assert callable(maker)


def assert_plain(value: object) -> None:
    if isinstance(value, dict):
        for name, each in value.items():
            assert isinstance(name, str)
            assert_plain(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            assert_plain(each)
    else:
        assert value is None or isinstance(value, (bool, int, float, str))


@pytest.mark.parametrize("name", explainer_names())
def test_entries_can_be_sent_to_other_processes(name: str):
    entry = explainer_entry(name)
    assert pickle.loads(pickle.dumps(entry)) == entry


def test_a_decorated_maker_stays_a_function_and_carries_its_entry():
    @registered(kind="counterfactual", block_size=5, role="ours")
    def mine(subject: Subject, steps: int = 3) -> int:
        """What it does.

        And more.
        """
        return steps

    entry = entry_of(mine)
    assert entry == ExplainerEntry(
        "mine", "What it does", mine, kind="counterfactual", block_size=5, role="ours",
        reads="probabilities",
    )  # fmt: skip
    assert mine(table()) == entry.load()(table()) == 3
    assert entry_of(entry) is entry
    assert entry_of(3) is None
    assert dataclasses.replace(entry, kind="attribution").kind == "attribution"


def test_the_decorator_takes_every_fact_of_an_entry():
    given = get_type_hints(ExplainerEntry)
    for taken_from_the_maker in ("name", "summary", "make"):
        given.pop(taken_from_the_maker)
    assert get_type_hints(facts.EntryFacts) == given
    assert list(inspect.signature(registered).parameters) == list(given)
    with pytest.raises(UnknownOptionError, match="Did you mean 'baseline'"):
        registered(base_line="mask")


@pytest.mark.parametrize(
    "fact", [{"role": "baseline"}, {"unit": "shares"}, {"rank_by": "size"}, {"kind": "graph"}]
)
def test_facts_that_are_none_of_the_known_ones_are_refused(fact: dict[str, str]):
    (name,) = fact
    with pytest.raises(InvalidInputError, match=f"^{name} must be one of "):
        ExplainerEntry("mine", "", lambda subject: subject, **fact)

"""What the axioms find in Captum 0.9, each in seconds and in a network as small as can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

pytest.importorskip("captum")

from captum import attr

from xai_adapters.axioms import AXIOMS, Domain, check_axiom, explainer

MODULES = ("module",)
ANY = Domain()


@dataclass(frozen=True)
class Find:
    name: str
    axiom: str
    make: Callable[[Any], Any]
    status: str
    n_hidden: int
    hint: str = ""
    claim: float = 0.0
    domain: Domain = ANY
    max_examples: int = 200


def ig_of_64_steps(model: Any) -> Any:
    return partial(attr.IntegratedGradients(model).attribute, n_steps=64)


def slope(model: Any) -> Any:
    return partial(attr.Saliency(model).attribute, abs=False)


FINDS = [
    Find("DeepLift loses completeness where ReLU is called as a function", "completeness",
         attr.DeepLift, "broken", 1, domain=Domain.piecewise_linear(styles=("functional",))),
    Find("DeepLift loses completeness at GELU", "completeness", attr.DeepLift, "broken", 1,
         domain=Domain(activations=("gelu",), styles=MODULES)),
    Find("DeepLift loses completeness at SiLU", "completeness", attr.DeepLift, "broken", 1,
         domain=Domain(activations=("silu",), styles=MODULES)),
    Find("64 steps miss 5 % at a kink", "completeness", ig_of_64_steps, "broken", 1, claim=0.05,
         domain=Domain.piecewise_linear(max_hidden_layers=1, max_features=2), max_examples=400),
    Find("KernelShap crashes on one feature", "determinism", attr.KernelShap, "crashed", 0,
         "Simplex", domain=Domain(max_features=1)),
    Find("LRP raises on nn.Identity", "implementation_invariance", attr.LRP, "crashed", 0,
         "Identity", domain=Domain.linear(styles=MODULES)),
    Find("the gradient is blind where the output is flat", "sensitivity", slope, "broken", 1),
    Find("DeepLift looks at the implementation", "implementation_invariance", attr.DeepLift,
         "broken", 3, domain=Domain.piecewise_linear(styles=MODULES)),
    Find("the gradient at a kink looks at the implementation", "implementation_invariance", slope,
         "broken", 2, domain=Domain.piecewise_linear(), max_examples=600),
    Find("LRP looks at the implementation", "implementation_invariance", attr.LRP,
         "broken", 1, domain=Domain(activations=("tanh",))),
    Find("Saliency leaves requires_grad when the model raises", "left_as_found_after_error",
         slope, "broken", 0, "rows.requires_grad"),
    Find("Lime answers in single precision", "well_formed", attr.Lime, "broken", 0, "float32"),
    Find("ShapleyValueSampling answers in single precision", "well_formed",
         attr.ShapleyValueSampling, "broken", 0, "float32"),
    Find("InputXGradient's answer is attached to the graph", "well_formed", attr.InputXGradient,
         "broken", 0, "attached"),
    Find("Lime crashes on a target without dimensions", "target_forms", attr.Lime, "crashed", 0),
]  # fmt: skip


@pytest.mark.parametrize("find", FINDS, ids=lambda find: find.name)
def test_a_known_defect_is_found(find: Find):
    tested = explainer("captum", find.make, {find.axiom: find.claim}, domain=find.domain)
    record = check_axiom(AXIOMS[find.axiom], tested, max_examples=find.max_examples)
    assert record.status == find.status, record
    assert record.case is not None
    assert record.case.network.n_hidden <= find.n_hidden, record
    assert find.hint in f"{record.reason} {record.got}"

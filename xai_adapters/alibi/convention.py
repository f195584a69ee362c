"""Alibi's calling convention: its classes, the forms of its arguments, explanations as JSON.

Where Alibi is installed the bases are its own; where it is not, small ones with the same fields
stand in their place. This is the only file that names what is Alibi's.
"""

from __future__ import annotations

import json
import math
import warnings
from abc import ABC, abstractmethod
from collections import ChainMap
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

import xai_adapters
from xai_adapters.errors import InvalidInputError, NotApplicableError
from xai_adapters.features.array_black_box import like_rows

if TYPE_CHECKING or find_spec("alibi") is None:

    class Explainer(ABC):
        """The base of explainers: `meta`, with its entries as attributes too."""

        def __init__(self, meta: dict[str, Any]) -> None:
            meta |= {"name": type(self).__name__, "version": xai_adapters.__version__}
            self.meta = meta
            vars(self).update(meta)

        @abstractmethod
        def explain(self, X: Any) -> Any:
            """Explain rows."""

    class FitMixin(ABC):
        """What explainers have that are fitted."""

        @abstractmethod
        def fit(self, X: Any) -> Any:
            """Fit to rows; returns the explainer."""

    class _Explanation:
        def __init__(self, meta: dict[str, Any], data: dict[str, Any]) -> None:
            self.meta, self.data = meta, data
            vars(self).update(ChainMap(meta, data))

        def __repr__(self) -> str:
            return f"{type(self).__name__}(meta={self.meta!r}, data={self.data!r})"

        def __getitem__(self, item: str) -> Any:
            return getattr(self, item)

else:
    from alibi.api.interfaces import Explainer, FitMixin
    from alibi.api.interfaces import Explanation as _Explanation

__all__ = ["Explainer", "Explanation", "FitMixin"]


class Explanation(_Explanation):
    """Alibi's explanation: `meta` and `data`, with their entries as attributes too.

    Its JSON is strict, whatever numpy's version.

    Example:
        >>> found = Explanation(meta={"name": "some"}, data={"cf": None, "X": np.array([0.5])})
        >>> found.to_json()
        '{"meta": {"name": "some"}, "data": {"cf": null, "X": [0.5]}}'
        >>> Explanation.from_json(found.to_json()).X
        [0.5]
    """

    def to_json(self) -> str:
        """Return the explanation as strict JSON; arrays become lists, NaN and infinity null."""
        return json.dumps(plain({"meta": self.meta, "data": self.data}), allow_nan=False)

    @classmethod
    def from_json(cls, jsonrepr: str) -> Explanation:
        """Return the explanation with this JSON; as with Alibi, arrays stay lists.

        Raises:
            InvalidInputError: for anything but the JSON of an explanation.
        """
        try:
            fields = json.loads(jsonrepr)
            return cls(meta=fields["meta"], data=fields["data"])
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise InvalidInputError(f"this is not an explanation's JSON: {error!r}") from error


def plain(value: Any) -> Any:
    """Return a value as what strict JSON can hold; what has no JSON becomes its text.

    Example:
        >>> plain({np.int64(1): np.array([1.5, np.nan]), "ok": np.bool_(True)})
        {'1': [1.5, None], 'ok': True}
    """
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(held) for key, held in value.items()}
    if isinstance(value, Collection):
        return [plain(held) for held in value]
    return str(value)


def default_meta(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata that Alibi's bases complete."""
    return {
        "name": None,
        "type": ["blackbox"],
        "explanations": ["local"],
        "params": {"xai_adapters": xai_adapters.__version__, **plain(params)},
        "version": None,
    }


def require_predictor(predictor: Any) -> Any:
    """Return a predictor that can be asked, or raise `NotApplicableError`, a `TypeError`."""
    asked = any(callable(getattr(predictor, name, None)) for name in ("predict_proba", "predict"))
    if not (asked or callable(predictor)):
        raise NotApplicableError(
            f"the predictor is {predictor!r:.60}, of type {type(predictor).__name__}; hand over a "
            "function that returns (n, C) class probabilities, a torch module, or an estimator "
            "with predict_proba or predict"
        )
    return predictor


def one_predictor(**given: Any) -> Any:
    """Return the predictor from among the names that Alibi's explainers have for it.

    Raises:
        NotApplicableError: unless exactly one of them is given, and can be asked.
    """
    found = {name: value for name, value in given.items() if value is not None}
    if len(found) != 1:
        raise NotApplicableError(
            f"one predictor is needed, as one of {', '.join(given)}; {len(found)} were given"
        )
    return require_predictor(*found.values())


# What code written for Alibi's explainers says of how they search, which ours have no use for.
IGNORED = {
    "__init__": "distance_fn target_proba max_iter early_stop lam_init max_lam_steps tol "
    "learning_rate_init eps init decay write_dir debug sess kappa beta gamma ae_model enc_model "
    "theta use_kdtree max_iterations c_init c_steps clip update_num_grad encoder decoder "
    "encoder_preprocessor decoder_inv_preprocessor coeff_sparsity coeff_consistency weight_num "
    "weight_cat latent_dim backend train_steps",
    "fit": "trustscore_kwargs d_type w disc_perc standardize_cat_vars smooth center "
    "update_feature_range",
    "explain": "Y k k_type threshold verbose print_every log_every C batch_size diversity "
    "num_samples patience tolerance",
}


def ignore(where: str, settings: Mapping[str, Any], stacklevel: int = 3) -> dict[str, Any]:
    """Warn about settings of Alibi's explainers that have no meaning here.

    Args:
        where: the method that was given them, one of `IGNORED`.
        settings: what it was given.
        stacklevel: of the warning, so that it points to the caller's line.

    Returns:
        The other settings.
    """
    known = IGNORED[where].split()
    said = sorted(name for name in known if settings.get(name) is not None)
    if said:
        warnings.warn(
            f"{', '.join(said)}: how Alibi's own explainers search; ignored here",
            stacklevel=stacklevel,
        )
    return {name: value for name, value in settings.items() if name not in known}


def require_target(target_class: Any) -> Any:
    """Return a target class that may be one, or raise `InvalidInputError`."""
    if target_class is None or (isinstance(target_class, str) and target_class != "other"):
        raise InvalidInputError(
            f"target_class must be 'other', a class number, or one for each row; it is "
            f"{target_class!r:.60}"
        )
    return target_class


def class_numbers(target_class: Any, n_rows: int, n_classes: int) -> Tensor | None:
    """Return the class (n,) each row is to reach, None for any other than its own.

    Args:
        target_class: "other", a class number, (n,) of them, or (n, C) with the largest entry at
            the class, as CounterfactualRL takes its `Y_t`.
        n_rows: n.
        n_classes: C.

    Raises:
        InvalidInputError: for anything else.

    Example:
        >>> class_numbers([[0.0, 1.0]], 1, 2)
        tensor([1])
    """
    require_target(target_class)
    if isinstance(target_class, str):
        return None
    try:
        classes = torch.as_tensor(target_class)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInputError(f"target_class {target_class!r:.60} is no number") from error
    if classes.ndim == 2 and classes.shape[1] == n_classes > 1:
        classes = classes.argmax(dim=1)
    classes = classes.flatten()
    if (
        classes.is_floating_point()
        or classes.dtype == torch.bool
        or len(classes) not in (1, n_rows)
    ):
        raise InvalidInputError(
            f"target_class must be 'other', a class number, or one for each of {n_rows} rows; it "
            f"is {target_class!r:.60}"
        )
    outside = (classes < 0) | (classes >= n_classes)
    if outside.any():
        raise InvalidInputError(
            f"target_class {int(classes[outside][0])} is not one of the classes 0 to "
            f"{n_classes - 1}"
        )
    return classes.to(torch.int64).expand(n_rows)


def counterfactual_data(
    rows: Tensor,
    shape: tuple[int, ...],
    before: Tensor,
    outside: Tensor,
    after: Tensor,
    target: Tensor | None,
) -> dict[str, Any]:
    """Return an explanation's data as Alibi's counterfactual explainers lay it out.

    Args:
        rows: (n, d) what was explained.
        shape: of one row, as the host has it.
        before: (n, C) class probabilities of the rows.
        outside: (n, d) where another class was sought.
        after: (n, C) what the black box gives there; the class counts, and nothing else, as
            success.
        target: (n,) classes that were asked for, None for any other.

    Returns:
        `cf`, `all`, `orig_class`, `orig_proba` and `success`. Of one row classes, distance, index
        and success are plain numbers, and `cf` is None if it was not successful.
    """
    original_class, reached = before.argmax(dim=1), after.argmax(dim=1)
    success = reached != original_class if target is None else reached == target
    found = torch.where(success[:, None], outside, rows)
    # A black box of labels may have shown a class for the first time.
    known = torch.nn.functional.pad(before, (0, after.shape[1] - before.shape[1]))
    proba = torch.where(success[:, None], after, known)

    def each(values: Tensor) -> Any:
        return values.item() if len(values) == 1 else values.cpu().numpy()

    cf = {
        "X": like_rows(found, shape),
        "class": each(proba.argmax(dim=1)),
        "proba": like_rows(proba, (proba.shape[1],)),
        "distance": each((found - rows).abs().sum(dim=1)),
        "index": each(torch.arange(len(rows))),
    }
    return {
        "cf": None if len(rows) == 1 and not success else cf,
        "all": {0: []},
        "orig_class": each(original_class),
        "orig_proba": like_rows(before, (before.shape[1],)),
        "success": each(success),
    }

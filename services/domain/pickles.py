"""Pickles of River estimators: small, and opened only through an exact list of what may be in them.

Read a pickle only after its signature has been verified; the list is the second lock, not the first. A prefix such as
``river.*`` would not do: ``os.system`` can be reached through modules that River imports.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable
from copyreg import __newobj__  # type: ignore[attr-defined] # pickle's own name for "make it without __init__"
from types import BuiltinFunctionType, FunctionType
from typing import Any

Global = tuple[str, str]

_TREES = "river.tree.nodes"
ALLOWED: frozenset[Global] = frozenset(
    (module, name)
    for module, names in {
        "builtins": "dict float int set str",
        "collections": "Counter OrderedDict defaultdict",
        "functools": "partial",
        "random": "Random",
        "statistics": "NormalDist",
        "river._river_rust.drift": "AdaptiveWindowing",
        "river._river_rust.vectordict": "VectorDict",
        "river.compose.pipeline": "Pipeline",
        "river.compose.select": "Select SelectType",
        "river.compose.union": "TransformerUnion",
        "river.drift.adwin": "ADWIN",
        "river.drift.no_drift": "NoDrift",
        "river.forest.adaptive_random_forest": "ARFClassifier ARFRegressor BaseTreeClassifier BaseTreeRegressor",
        "river.linear_model.lin_reg": "LinearRegression",
        "river.linear_model.log_reg": "LogisticRegression",
        "river.metrics.accuracy": "Accuracy",
        "river.metrics.confusion": "ConfusionMatrix",
        "river.metrics.mse": "MSE",
        "river.optim.ada_grad": "AdaGrad",
        "river.optim.adam": "Adam",
        "river.optim.initializers": "Zeros",
        "river.optim.losses": "Huber Log Squared",
        "river.optim.schedulers": "Constant",
        "river.optim.sgd": "SGD",
        "river.preprocessing.one_hot": "OneHotEncoder",
        "river.preprocessing.scale": "MinMaxScaler StandardScaler",
        "river.proba.gaussian": "Gaussian",
        "river.stats.maximum": "Max",
        "river.stats.mean": "Mean",
        "river.stats.minimum": "Min",
        "river.stats.var": "Var",
        "river.tree.hoeffding_adaptive_tree_classifier": "HoeffdingAdaptiveTreeClassifier",
        "river.tree.hoeffding_adaptive_tree_regressor": "HoeffdingAdaptiveTreeRegressor",
        f"{_TREES}.arf_htc_nodes": "RandomLeafMajorityClass RandomLeafNaiveBayes RandomLeafNaiveBayesAdaptive",
        f"{_TREES}.arf_htr_nodes": "RandomLeafMean",
        f"{_TREES}.branch": "NominalBinaryBranch NominalMultiwayBranch NumericBinaryBranch NumericMultiwayBranch",
        f"{_TREES}.hatc_nodes": "AdaLeafClassifier AdaNomBinaryBranchClass AdaNumBinaryBranchClass "
        "AdaNomMultiwayBranchClass AdaNumMultiwayBranchClass",
        f"{_TREES}.hatr_nodes": "AdaLeafRegMean AdaNomBinaryBranchReg AdaNumBinaryBranchReg "
        "AdaNomMultiwayBranchReg AdaNumMultiwayBranchReg",
        "river.tree.split_criterion.info_gain_split_criterion": "InfoGainSplitCriterion",
        "river.tree.split_criterion.variance_reduction_split_criterion": "VarianceReductionSplitCriterion",
        "river.tree.splitter.ebst_splitter": "EBSTNode EBSTNode._update_estimator_univariate",
        "river.tree.splitter.gaussian_splitter": "GaussianSplitter",
        "river.tree.splitter.nominal_splitter_classif": "NominalSplitterClassif",
        "river.tree.splitter.nominal_splitter_reg": "NominalSplitterReg "
        "NominalSplitterReg._update_estimator_univariate",
        "river.tree.splitter.tebst_splitter": "TEBSTSplitter",
    }.items()
    for name in names.split()
)  # fmt: skip
"""Module and qualified name of everything that the catalogue's models, and River's plain linear pipelines, consist of."""


class UnlistedError(ValueError):
    """A pickle holds, or would hold, something that is not on the list."""


def dump(estimator: Any, also: Iterable[Global] = ()) -> bytes:
    """Pickle an estimator, without the state of random generators that no prediction uses.

    Raises UnlistedError when it holds what :func:`load` would refuse, so that this shows where it can be mended.
    """
    buffer = io.BytesIO()
    _Pickler(buffer, ALLOWED | frozenset(also)).dump(estimator)
    return buffer.getvalue()


def load(data: bytes, also: Iterable[Global] = ()) -> Any:
    """Unpickle what :func:`dump` made; UnlistedError for anything that is not on the list."""
    return _Unpickler(_Frames(data), ALLOWED | frozenset(also)).load()


class _Pickler(pickle.Pickler):
    """95 % of a tree's pickle would be 625 words of generator state in each ``proba.Gaussian``, which only its
    ``sample`` uses: one generator for all takes a forest of ten from 61 to 2 MB with the same predictions ever after,
    and makes it load twice as fast as seeding one each would.
    """

    def __init__(self, buffer: io.BytesIO, allowed: frozenset[Global]) -> None:
        super().__init__(buffer, protocol=5)
        self._allowed = allowed
        self._generator: Any = None

    def reducer_override(self, value: Any) -> Any:
        """Called for every object but the plainest."""
        kind = type(value)
        named = value if kind is type or isinstance(value, type | FunctionType | BuiltinFunctionType) else kind
        _check(named.__module__, named.__qualname__, self._allowed)
        if kind.__qualname__ == "Gaussian" and kind.__module__ == "river.proba.gaussian":
            self._generator = self._generator or type(value._rng)(0)  # nothing is ever drawn from it
            return __newobj__, (kind,), {"seed": value.seed, "_rng": self._generator, "_var": value._var}
        return NotImplemented


class _Frames:
    """Bytes to unpickle, handed over by frames of some 64 KiB (PEP 3154), in Python: between two of them other threads go on.

    From an ``io.BytesIO`` a whole forest would be read in one go, with every lane of the process waiting.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def read(self, size: int) -> bytes:
        """The next bytes."""
        start = self._at
        self._at += size
        return self._data[start : self._at]

    def readline(self) -> bytes:
        """The next bytes up to the end of a line."""
        found = self._data.find(b"\n", self._at)
        return self.read((found + 1 or len(self._data)) - self._at)


class _Unpickler(pickle.Unpickler):
    def __init__(self, buffer: _Frames, allowed: frozenset[Global]) -> None:
        super().__init__(buffer)
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        """Called for every global that a pickle names."""
        _check(module, name, self._allowed)
        return super().find_class(module, name)


def _check(module: str, name: str, allowed: frozenset[Global]) -> None:
    if (module, name) not in allowed:
        message = (
            f"{module}.{name} is not on the list of what a pickled model may hold. If the model comes from a factory of "
            f'your own, let its module say ALLOWED = [("{module}", "{name}"), …] after making sure that building it '
            "from any arguments is harmless; otherwise do not trust the snapshot"
        )
        raise UnlistedError(message)

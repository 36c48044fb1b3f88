"""Packages that only some of mmgraph needs, imported where they are used."""

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from mmgraph.errors import MissingPackageError


def require(name: str, *, extra: str) -> ModuleType:
    """Imports an optional package.

    Args:
        name: The module, e.g. ``"faiss"``.
        extra: The extra of mmgraph that installs it, e.g. ``"index"``.

    Returns:
        The imported module.

    Raises:
        MissingPackageError: The package is not installed.

    Example:
        >>> require("json", extra="none").dumps([1])
        '[1]'
        >>> require("no_such_package", extra="index")
        Traceback (most recent call last):
        ...
        mmgraph.errors.MissingPackageError: This needs the package 'no_such_package', which is not
        installed; install it with: pip install 'mmgraph[index]'
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.split(".")[0]:
            raise
        raise MissingPackageError(
            f"This needs the package {name!r}, which is not installed; install it with: pip install 'mmgraph[{extra}]'"
        ) from None


@contextmanager
def quiet(logger: str, *kinds: type[Warning], module: str = "") -> Iterator[None]:
    """Keeps a package's remarks away, and its warnings of some kinds; its errors still come.

    Args:
        logger: Whose remarks.
        *kinds: Of warnings.
        module: Where they come from, a regular expression as :func:`warnings.filterwarnings` takes it; by default
            anywhere.

    Example:
        >>> with quiet("ray", UserWarning):
        ...     warnings.warn("this is not heard")
        ...     logging.getLogger("ray").getEffectiveLevel() == logging.ERROR
        True
    """
    heard = logging.getLogger(logger)
    level = heard.level
    heard.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for kind in kinds:
                warnings.filterwarnings("ignore", category=kind, module=module)
            yield
    finally:
        heard.setLevel(level)


@contextmanager
def no_bars() -> Iterator[None]:
    """Keeps away the bars of progress that transformers draws while it reads and writes weights.

    Raises:
        MissingPackageError: transformers is not installed.
    """
    bars = require("transformers", extra="text").utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()

"""The first word picks the command; errors are one line, and exit codes mean something."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Sequence

from mmgraph.errors import ArtifactError, ConfigError, DataError, MissingPackageError, MMGraphError, SchemaError

COMMANDS = {
    "build": "make a graph from tables, pictures, recordings and texts",
    "describe": "say what a graph or a collection holds, and show it on a page",
    "run": "carry a recipe out: train a model beside its controls, write scores, index and report",
    "tune": "look for the settings of a recipe that do best on validation",
    "ls": "list the recipes, the datasets and the runs",
    "fill": "make a modality that samples lack from those that they have, marked as made",
    "index": "make a built graph quick to search, or search it by a trained model",
    "search": "find the subgraphs most like a subject's, or most like a text, a picture, a recording",
    "serve": "open a page to search a built graph with, and a JSON API, on this machine",
    "explain": "say why the model of a run says what it says of a subject, by modality, node and edge",
    "report": "write the HTML report of a run again, and say where it is",
    "push": "put the model of a run into a folder or on the hub, where it loads without the recipe",
    "sweep": "take modalities away from a recipe's data, and see what each way of dealing with it is worth",
}

HELP = f"""usage: mmgraph COMMAND [--help] ...

Graph-centric multimodal learning: a graph, a recipe, a score beside its controls, a search.

commands:
{chr(10).join(f"  {name:<8} {text}" for name, text in COMMANDS.items())}

options:
  -v, --verbose   show the traceback of an error
  --version       show the version
  -h, --help      show this; after a command: its own options

examples:
  mmgraph ls
  mmgraph build graph.toml -o shop
  mmgraph describe shop --html shop.html
  mmgraph search shop --text "a red mug" -k 5
  mmgraph run population_wdbc --runs 3 --population.k 5
  mmgraph tune population_wdbc --choose population.k=3,10,30 --runs 3
  mmgraph search runs/population_wdbc-1a2b3c4d --id patient-007 -k 5
  mmgraph explain runs/population_wdbc-1a2b3c4d --id patient-007
  mmgraph report runs/population_wdbc-1a2b3c4d
  mmgraph push runs/population_wdbc-1a2b3c4d models/wdbc
  mmgraph sweep missing population_wdbc --rates 0 0.5 --how leave token

exit codes:
  0 done   1 an error that is ours   2 wrong option   3 wrong data   4 damaged or foreign file
  5 a package is missing   130 interrupted
"""

EXIT_CODES: dict[type[MMGraphError], int] = {
    ConfigError: 2,
    SchemaError: 3,
    DataError: 3,
    ArtifactError: 4,
    MissingPackageError: 5,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Carries out one command line, and gives its exit code.

    Example:
        >>> main(["--version"])
        mmgraph 0.1.0
        0
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    verbose = any(word in ("-v", "--verbose") for word in words)
    words = [word for word in words if word not in ("-v", "--verbose")]
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(HELP)
        return 0 if words else 2
    if words[0] == "--version":
        from mmgraph import __version__

        sys.stdout.write(f"mmgraph {__version__}\n")
        return 0
    try:
        if words[0] not in COMMANDS:
            raise ConfigError(f"Command must be one of {list(COMMANDS)}, got {words[0]!r}; see mmgraph --help")
        command = importlib.import_module(f"mmgraph.cli.{words[0]}")
        command.main(words[1:])
    except MMGraphError as error:
        codes = (code for kind, code in EXIT_CODES.items() if isinstance(error, kind))
        return _fail(error, next(codes, 1), verbose=verbose)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on where this one stopped\n")
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:
        return _fail(error, 1, verbose=verbose)
    return 0


def _fail(error: Exception, code: int, *, verbose: bool) -> int:
    if verbose:
        traceback.print_exception(error)
    name = "error" if isinstance(error, MMGraphError) else f"unexpected error ({type(error).__name__})"
    hint = "" if verbose or isinstance(error, MMGraphError) else " [-v shows the traceback]"
    sys.stderr.write(f"mmgraph: {name}: {' '.join(str(error).split())}{hint}\n")
    return code

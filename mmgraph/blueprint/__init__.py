"""What a module was made of, as plain JSON: a tree of constructor calls, written down and carried out again.

Modules of mmgraph remember the arguments of their constructor (:class:`Recorded`). So the classes of a model, with what
they were given, can be written beside its weights, and an equal model be made from the file without the code that once
put it together.

A file may name classes and functions of mmgraph, of a list of :mod:`torch.nn`, and those that the user has registered
(:func:`register`); whatever else it names is refused, and nothing is imported for it.
"""

from mmgraph.blueprint.compare import first_difference
from mmgraph.blueprint.names import register
from mmgraph.blueprint.read import rebuild
from mmgraph.blueprint.recorded import Recorded
from mmgraph.blueprint.write import blueprint

__all__ = ["Recorded", "blueprint", "first_difference", "rebuild", "register"]

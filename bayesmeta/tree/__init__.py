"""The results tree: its part that holds the specification, how it is built, read and kept in files."""

from bayesmeta.model.spec import Spec as Spec
from bayesmeta.tree.specification import spec_from_tree as spec_from_tree

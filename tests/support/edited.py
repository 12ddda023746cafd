"""Trees that tests have edited on purpose."""

import xarray as xr

from bayesmeta.tree.fingerprint import HASHES


def unhashed(tree: xr.DataTree) -> xr.DataTree:
    """A copy without the hashes of its content, so that readers take edits as they are."""
    copy = tree.copy(deep=True)
    copy.attrs.pop(HASHES)
    return copy

"""The posterior: the PyMC model, its samplers, and the tree of draws."""

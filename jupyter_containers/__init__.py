"""Containers as a native object of the Jupyter notebook."""

__version__ = "0.1.0.dev0"

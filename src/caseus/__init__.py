"""caseus: a Python package index that a team runs itself."""

__version__ = "0.1.0"

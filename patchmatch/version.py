"""The version, written once; setup.py reads it as text, so nothing is imported to install."""

__version__ = "0.1.0"

"""Embedding files: what the world reads and writes."""

from .formats import FORMATS, Embedding
from .read import read_embedding
from .write import write_embedding

__all__ = ["FORMATS", "Embedding", "read_embedding", "write_embedding"]

"""Embedding files: reading and writing the formats that other programs use."""

from .embedding import Embedding, families_of
from .formats import FORMATS
from .read import read_embedding
from .write import write_embedding

__all__ = ["FORMATS", "Embedding", "families_of", "read_embedding", "write_embedding"]

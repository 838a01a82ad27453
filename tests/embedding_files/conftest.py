import resource
from collections.abc import Iterator

import pytest

MIB = 2**20


@pytest.fixture
def bounded_memory() -> Iterator[None]:
    """The test may not touch more memory than a few times what an embedding needs; Linux counts in KiB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 150 * MIB

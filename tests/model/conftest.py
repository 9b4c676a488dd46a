"""Models crash what they model on purpose: what it logs of that would take longer than the model."""

import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import Phase, settings

#: For `mutants`: that a plan fails is enough, it need not become small.
settings.register_profile("mutants", phases=[Phase.explicit, Phase.generate])


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()

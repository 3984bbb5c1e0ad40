from pathlib import Path

import pytest

from tests.assemblies import shared_assembly
from tests.stacks.synthesis import CHANGED, DEFAULTS, synthesize
from tests.stacks.template import Template
from tests.stacks.watching import Watched


@pytest.fixture(scope="session")
def cloud_assembly() -> Path:
    """What `python app.py` makes of the settings' defaults."""
    return shared_assembly(DEFAULTS, synthesize)


@pytest.fixture(scope="session")
def storage(cloud_assembly: Path) -> Template:
    return Template.read(cloud_assembly / "ReportFlow-Storage.template.json")


@pytest.fixture(scope="session")
def pipeline(cloud_assembly: Path) -> Template:
    return Template.read(cloud_assembly / "ReportFlow-Pipeline.template.json")


@pytest.fixture(scope="session")
def changed_assembly() -> Path:
    """The same app with every setting changed."""
    return shared_assembly(CHANGED, lambda folder: synthesize(folder, CHANGED))


@pytest.fixture(scope="session")
def changed_storage(changed_assembly: Path) -> Template:
    return Template.read(changed_assembly / "Invoices-Storage.template.json")


@pytest.fixture(scope="session")
def changed_pipeline(changed_assembly: Path) -> Template:
    return Template.read(changed_assembly / "Invoices-Pipeline.template.json")


@pytest.fixture(params=["cloud_assembly", "changed_assembly"])
def watched(request: pytest.FixtureRequest) -> Watched:
    """The app as it is shipped, and with every setting changed."""
    return Watched.read(request.getfixturevalue(request.param))

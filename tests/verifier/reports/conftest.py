"""What every renderer is handed."""

from dataclasses import replace

import pytest

from verifier.commands.rendering import Told, open_dossier
from verifier.reports.dossier import Dossier
from verifier.schemas.verdict_json import VerdictFile


@pytest.fixture
def dossier():
    """Open a verdict with the rules and the ledger of its track."""

    def opened(of: VerdictFile, folder: str = "") -> Dossier:
        return replace(open_dossier(Told(verdict=of)), folder=folder)

    return opened

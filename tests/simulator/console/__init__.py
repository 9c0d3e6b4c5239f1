"""A page for the simulators: the workspace and Together's service, to be looked at and acted on in a browser."""

from tests.simulator.console.console import Console
from tests.simulator.console.scenes import Scenes

__all__ = ["Console", "Scenes"]

"""Where the files lie that the package reads and that are no code of its own."""

from pathlib import Path


def beside(installed: str, checkout: str) -> Path:
    """The folder `installed` inside the package, as a wheel has it, or else `checkout` in the checkout around it."""
    package = Path(__file__).resolve().parent
    inside = package / installed
    return inside if inside.is_dir() else package.parent / checkout

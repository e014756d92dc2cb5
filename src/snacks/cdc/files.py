"""Where the folder `redpanda/` is: beside `src` in a checkout, inside the package once installed."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def redpanda(name: str) -> Path:
    """The file of that name in `redpanda/`.

    Raises:
        FileNotFoundError: it is in neither place.
    """
    places = [folder / "redpanda" / name for folder in (_PACKAGE, _PACKAGE.parents[1])]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(f"{name} is in none of {', '.join(str(place.parent) for place in places)}")

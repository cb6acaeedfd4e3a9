"""What figures of lags on a head share: its outline, and the colours of delays."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Circle, Polygon

COLOURS = ListedColormap(mpl.colormaps["viridis_r"](np.linspace(0.15, 1.0, 256)))
"""Without the palest yellow, which paper swallows."""


def outline(axes: Axes) -> None:
    """Draw rim and nose, seen from above; electrodes lie within radius 1."""
    style = {"edgecolor": "0.75", "facecolor": "none", "linewidth": 1.0, "zorder": 0}
    axes.add_patch(Polygon([(-0.12, 1.09), (0.0, 1.24), (0.12, 1.09)], closed=False, **style))
    axes.add_patch(Circle((0, 0), 1.1, **style))

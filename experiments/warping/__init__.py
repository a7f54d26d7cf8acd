"""A network that straightens what it looks at: digits, warped, and a spatial transformer that undoes it."""

TASK = "warping"

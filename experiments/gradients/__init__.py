"""How far a gradient reaches back, and why."""

"""Models that leave the lab: written as SavedModels, and used from there."""

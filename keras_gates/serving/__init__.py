"""Models for deployment: written as SavedModels, and loaded again."""

"""Options that belong together: what --preset changes in the defaults."""

PRESETS = {
    # which names most characters right: 20 CPU minutes
    "glyphs-best": {"attention": "none", "batch_size": 32, "epochs": 40},
}

"""The sentiment of a text, or any label: many-to-one."""

TASK = "sentiment"

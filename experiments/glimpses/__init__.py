"""What digit, after a few glances: a picture of fixed size, read as a sequence."""

TASK = "glimpses"

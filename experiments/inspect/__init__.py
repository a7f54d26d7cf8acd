"""What a trained network does inside while it reads a text."""

"""The server: a trained model of text over HTTP and WebSocket; `python -m experiments.serve --help`."""

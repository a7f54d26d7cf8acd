"""The server in several processes, on Ray Serve: `python -m experiments.serve.scaled RUN`.

It answers as the plain server does, at the same addresses. Three kinds of processes share the work:

- `Ingress` holds the connections. The state of a stream is here, pickled, and goes with each piece of text to
  a replica of `Model`, which returns the state after it. An ingress needs no TensorFlow.
- `Model` has the run. It answers requests of several connections as one batch, steps of streams by NumPy
  where it can compute the model. It keeps nothing, so there may be more or fewer replicas at any time.
- `Sessions` keeps the state of every stream that its client has named, `/stream?session=NAME`.

What is guaranteed when a process is lost:

- A replica of `Model`: what it was asked is asked again of another one, with the state from before. No
  stream loses a token, none is read twice, and no connection ends.
- A replica of `Ingress`: its connections end. A stream with a name continues where it was, once its client
  has connected again: each message has a number, `{"push": "a film", "number": 8}`, and one that was sent
  but not answered is sent again and read once. A stream without a name is lost.
- `Sessions`: a stream whose connection is open continues, and is kept again; one that waits for its client
  to connect is lost, and its client is told so.
"""

"""How much a client may ask for, and how long the server waits for it."""

# A message: the body of a POST, or a message of a WebSocket.
MOST_BYTES = 64 * 1024
MOST_HEADER_BYTES = 16 * 1024
MOST_TEXTS = 64
MOST_TRACED = 400  # words or characters of a text whose gates are shown

# A picture.
MOST_PICTURE_BYTES = 4 * 1024 * 1024  # of its file
MOST_PIXELS = 4096 * 4096
MOST_PICTURES = 16  # that are sent or wait for an answer at a time
MOST_QUESTION = 500  # characters

# A WebSocket.
MOST_STREAMS = 256  # open at once
MOST_WAITING = 16  # messages of one connection that are not yet answered
MOST_SESSIONS = 10_000  # streams with a name that are kept by experiments.serve.scaled
CHUNK = 8  # steps of a stream between which other connections have their turn

# Seconds.
REQUEST_SECONDS = 10  # from the opening of a connection, or its last answer, to the end of the headers
BODY_SECONDS = 10  # from the headers to the end of the body
SEND_SECONDS = 10  # for a client to take an answer
END_SECONDS = 2  # for open requests, when the server is asked to end
RETRY_SECONDS = 60  # for a replica of the model to answer, after others were lost

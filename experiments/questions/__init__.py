"""Questions about a picture: a picture and a question come in, an answer goes out."""

TASK = "questions"

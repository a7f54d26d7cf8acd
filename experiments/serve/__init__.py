"""A server for a trained model of text or pictures: `python -m experiments.serve RUN`, then open its page.

Of text:

- `POST /predict` with `{"texts": ["a film to remember"]}` answers for whole texts: the label and the
  probability of each, or the tag of every token.
- The WebSocket `/stream` takes words, or characters, as they come and holds the state of its connection:
  `{"push": "a film"}`, `{"reset": true}`. NumPy computes the steps, without calling TensorFlow, where it has
  all operations of the model. A model that reads both ways cannot stream, and says so.
- With `"gates": true` either tells what every gate does at the last token.
- `/` is a page on which text is typed and the prediction and the gates move; `/model` describes the model
  to it.

Of pictures, for runs of captioning and questions:

- `POST /look`, or `/look?question=…`, with the file of a picture as its body answers with the words of the
  caption or the answer, their probability, and how much each place of the picture did for each word.
- `/` is a page to drop a picture on, or to draw one, and to point at words; `/model` describes the model.

What cannot be answered gets `{"error": "a sentence"}`; a WebSocket stays open after it.

Who may connect: the server listens at 127.0.0.1 unless `--host` names another address. It has no passwords
and no encryption. It answers only requests whose `Host` header names it (`--allow-host`), and none of a web
page of another site, which the browser names in `Origin` (`--allow-origin`).

The limits are in `limits.py`.
"""

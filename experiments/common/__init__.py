"""What the tasks share: command lines, run folders, training, figures, batches. Nothing here knows a task."""

"""What the tasks share: command lines, run folders, training, figures, batches. None depends on a task."""

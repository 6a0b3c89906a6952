"""What is a model worth? Protocols, scores with intervals, and many runs over seeds."""
